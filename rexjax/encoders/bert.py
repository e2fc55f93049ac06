"""BERT as an encoder of item texts: tokens in, one vector per text out.

The architecture of Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
(NAACL 2019, arXiv:1810.04805), which MiniLM, BGE, E5 and GTE share; pooling as in Reimers & Gurevych, "Sentence-BERT"
(EMNLP 2019, arXiv:1908.10084). It runs forward only: there is no dropout and no segment but the first.

The parameters are replicated over the mesh and the texts are split over its "data" axis: these models are tens to
hundreds of megabytes, so every device holds one whole.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

Pooling = Literal["mean", "cls"]


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT encoder.

    vocab: rows of the token table. width: D. layers: how many blocks. heads: H, must divide D. mlp: width between the
    two layers of a block's MLP. positions: longest L. types: rows of the segment table, of which only row 0 is read.
    epsilon: what LayerNorm adds to the variance. first: rows of the position table before that of the first token.
    """

    vocab: int
    width: int
    layers: int
    heads: int
    mlp: int
    positions: int
    types: int = 2
    epsilon: float = 1e-12
    first: int = 0


class Attention(nn.Module):
    """Multi-head self-attention in both directions; the three input projections are one matrix product."""

    config: BertConfig

    @nn.compact
    def __call__(self, hidden: jax.Array, mask: jax.Array) -> jax.Array:
        """hidden f32 [B, L, D], mask bool [B, L] → f32 [B, L, D]; no position attends to a masked one."""
        depth = self.config.width // self.config.heads
        projected = nn.DenseGeneral((3, self.config.heads, depth), name="query_key_value")(hidden)
        query, key, value = jnp.moveaxis(projected, 2, 0)
        logits = jnp.einsum("blhd,bmhd->bhlm", query, key) / depth**0.5
        # The finite minimum, not -inf: a row that only fills up the batch has nothing to attend to and must not be NaN.
        logits = jnp.where(mask[:, None, None, :], logits, jnp.finfo(logits.dtype).min)
        mixed = jnp.einsum("bhlm,bmhd->blhd", nn.softmax(logits), value)
        return nn.DenseGeneral(self.config.width, axis=(-2, -1), name="output")(mixed)


class Block(nn.Module):
    """Attention and MLP, each with its residual and the LayerNorm *after* it (post-norm)."""

    config: BertConfig

    @nn.compact
    def __call__(self, hidden: jax.Array, mask: jax.Array) -> jax.Array:
        """hidden f32 [B, L, D], mask bool [B, L] → f32 [B, L, D]."""
        epsilon = self.config.epsilon
        attended = Attention(self.config, name="attention")(hidden, mask)
        hidden = nn.LayerNorm(epsilon, use_fast_variance=False, name="attention_norm")(hidden + attended)
        inner = nn.gelu(nn.Dense(self.config.mlp, name="mlp_in")(hidden), approximate=False)
        outer = nn.Dense(self.config.width, name="mlp_out")(inner)
        return nn.LayerNorm(epsilon, use_fast_variance=False, name="mlp_norm")(hidden + outer)


class Bert(nn.Module):
    """The encoder stack of BERT in float32, without the pooler and without any head."""

    config: BertConfig

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        """tokens i32 [B, L] in [0, vocab), mask bool [B, L], True where there is a token → f32 [B, L, D].

        Matrix products follow ``jax.default_matmul_precision``: set it to "highest" for parity on TPU and GPU.

        Raises:
            ValueError: L exceeds the position table.
        """
        config, length = self.config, tokens.shape[1]
        if length > config.positions:
            raise ValueError(f"{length} tokens, but the position table has {config.positions} rows")
        hidden = nn.Embed(config.vocab, config.width, name="words")(tokens)
        hidden += nn.Embed(config.positions, config.width, name="positions")(jnp.arange(length)[None])
        hidden += nn.Embed(config.types, config.width, name="types")(jnp.zeros((1, 1), jnp.int32))
        hidden = nn.LayerNorm(config.epsilon, use_fast_variance=False, name="norm")(hidden)
        for layer in range(config.layers):
            hidden = Block(config, name=f"block_{layer}")(hidden, mask)
        return hidden


def pool(hidden: jax.Array, mask: jax.Array, mode: Pooling, *, normalize: bool = False) -> jax.Array:
    """One vector per text: the mean over its tokens, or the vector of its first token ([CLS]).

    hidden f32 [B, L, D], mask bool [B, L] → f32 [B, D], of length one where ``normalize``. A text with no token at all
    has the mean zero, and zero stays zero when normalised.

    >>> import jax.numpy as jnp
    >>> hidden, mask = jnp.asarray([[[1.0, 0.0], [3.0, 4.0], [9.0, 9.0]]]), jnp.asarray([[True, True, False]])
    >>> pool(hidden, mask, "mean").tolist(), pool(hidden, mask, "cls").tolist()
    ([[2.0, 2.0]], [[1.0, 0.0]])
    """
    if mode == "cls":
        pooled = hidden[:, 0]
    elif mode == "mean":
        count = jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
        pooled = jnp.where(mask[:, :, None], hidden, 0.0).sum(axis=1) / count
    else:
        raise ValueError(f"pooling {mode!r} is neither 'mean' nor 'cls'")
    if normalize:
        pooled /= jnp.maximum(jnp.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    return pooled
