"""Layers that several models share."""

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

_BUCKET = 0.301  # natural log of neighbouring time buckets' ratio, as in HSTU: 35 % more time is the next bucket
BUCKETS = 80  # enough for int32


class Row(NamedTuple):
    """What a history encoder must know of packed rows besides the items' vectors, see ``rexjax.data.batches.Batch``."""

    segments: jax.Array
    """int32 [B, L], 0 is padding."""
    positions: jax.Array
    """int32 [B, L]."""
    times: jax.Array | None = None
    """int32 [B, L, 2], for encoders that read them."""
    features: Mapping[str, jax.Array] | None = None
    """[B, L, ...] by name, of users (``rexjax.models.user_features``)."""


def _kernel(*axes: str) -> nn.initializers.Initializer:
    return nn.with_logical_partitioning(nn.initializers.xavier_uniform(), axes)


class Dropout(nn.Module):
    """Zeros a share of the activations and scales the rest up (Srivastava et al. 2014).

    Which ones is a hash of their place and the key: a dozen integer operations that fuse into the product, where JAX's
    own generator writes its bits to memory first (on a CPU 0.3 against 4.6 ms for 1.3 million activations).
    """

    rate: float
    """Dropped share, below 1."""

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Any shape."""
        if deterministic or not self.rate:
            return x
        first, second = jax.random.key_data(self.make_rng("dropout"))[:2]
        place = jax.lax.iota(jnp.uint32, x.size).reshape(x.shape)
        kept = _scatter_bits(_scatter_bits(place ^ first) ^ second) < jnp.uint32(2**32 * (1 - self.rate))
        return jnp.where(kept, x / (1 - self.rate), 0)


def _scatter_bits(x: jax.Array) -> jax.Array:
    """A bijection of uint32 whose every output bit depends on all input bits ("lowbias32": Wellons 2018)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


QUERIES = 64
"""Attention takes at most so many queries at a time, with the keys before the last of them: of long rows it computes
little more than the half that causality leaves (on a CPU, L = 200: 7.0 against 13.0 ms, forward and backward)."""

Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array | None], jax.Array]
"""Queries [B, Q, H, D / H], keys and values [B, L, H, D / H], mask bool [B, Q, L], bias [B, H, Q, L] or None →
[B, H, Q, D / H]."""


def causal_chunks(queries: int, length: int) -> list[tuple[slice, int]]:
    """Of the last Q of L positions at most ``QUERIES`` at a time, and how many of the L lie no later than those."""
    size = -(-queries // -(-queries // QUERIES))
    starts = range(0, queries, size)
    return [(slice(start, start + size), length - queries + min(start + size, queries)) for start in starts]


def attend_causally(
    attend: Attend, q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None
) -> jax.Array:
    """``attend`` for the last Q of L positions, without the keys that lie later than all of a chunk's queries.

    Mask [B, ≥ Q, L] and bias [B, H, ≥ Q, L] may hold earlier queries too.
    """
    found = []
    mask, bias = mask[:, -q.shape[1] :], None if bias is None else bias[:, :, -q.shape[1] :]
    for own, seen in causal_chunks(q.shape[1], k.shape[1]):
        part = None if bias is None else bias[:, :, own, :seen]
        found.append(attend(q[:, own], k[:, :seen], v[:, :seen], mask[:, own, :seen], part))
    return jnp.concatenate(found, 2).transpose(0, 2, 1, 3)


def _mixed(weights: jax.Array, v: jax.Array) -> jax.Array:
    """[B, H, Q, L] · [B, L, H, D / H] → [B, H, Q, D / H]: asked for in any other order, XLA transposes the weights'
    side on a CPU (236 rows of 50: 4.5 against 2.4 ms with the softmax)."""
    return jnp.einsum("bhql,blhd->bhqd", weights, v)


def _scores(q: jax.Array, k: jax.Array, bias: jax.Array | None, scale: float = 1.0) -> jax.Array:
    """float32 [B, H, Q, L], whatever the activations are kept in."""
    scores = scale * jnp.einsum("bqhd,blhd->bhql", q, k, preferred_element_type=jnp.float32)
    return scores if bias is None else scores + bias


class Attention(nn.Module):
    """Multi-head causal attention (Vaswani et al. 2017)."""

    heads: int
    """H; divides the width."""
    dropout: float
    """Dropped share of attention weights."""

    @nn.compact
    def __call__(
        self, x: jax.Array, context: jax.Array, mask: jax.Array, bias: jax.Array | None, deterministic: bool
    ) -> jax.Array:
        """float32 [B, Q, D], the last Q positions, attend to context [B, L, D] where mask (bool [B, L, L]) allows it.

        ``bias`` float32 [B, H, L, L] is added to the scores. Nothing is seen that lies later.
        """
        width = x.shape[-1]
        head = (self.heads, width // self.heads)
        axes, drop = _kernel("embed", "heads", "head"), Dropout(self.dropout)

        def project(name, of):
            return nn.DenseGeneral(head, use_bias=False, kernel_init=axes, name=name)(of)

        def attend(q, k, v, mask, bias):
            scores = _scores(q, k, bias, 1 / head[1] ** 0.5)
            weights = nn.softmax(jnp.where(mask[:, None], scores, jnp.finfo(scores.dtype).min)).astype(v.dtype)
            return _mixed(drop(weights, deterministic), v)

        mixed = attend_causally(attend, project("q", x), project("k", context), project("v", context), mask, bias)
        return nn.DenseGeneral(width, axis=(-2, -1), kernel_init=_kernel("heads", "head", "embed"), name="out")(mixed)


class Block(nn.Module):
    """A pre-norm transformer block with a GELU MLP of four times the width."""

    heads: int
    """H."""
    dropout: float
    """Dropped share of activations."""
    attends: ClassVar[bool] = True
    """Has heads, and a bias where one is given."""

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array, bias: jax.Array | None, queries: int, deterministic: bool
    ) -> jax.Array:
        """float32 [B, L, D] → the last Q = ``queries`` positions [B, Q, D].

        ``mask`` bool [B, L, L] (query, key) says which positions a position may look at, ``bias`` [B, H, L, L] is that
        of its attention.
        """
        drop, context = Dropout(self.dropout), nn.LayerNorm()(x)
        attended = Attention(self.heads, self.dropout)(context[:, -queries:], context, mask, bias, deterministic)
        x = x[:, -queries:] + drop(attended, deterministic)
        hidden = nn.Dense(4 * x.shape[-1], kernel_init=_kernel("embed", "mlp"), name="up")(nn.LayerNorm()(x))
        hidden = drop(nn.gelu(hidden), deterministic)
        hidden = nn.Dense(x.shape[-1], kernel_init=_kernel("mlp", "embed"), name="down")(hidden)
        return x + drop(hidden, deterministic)


class GatedBlock(nn.Module):
    """A pre-norm block whose residuals pass a learned gate, with a SwiGLU MLP (LiGR: Borisyuk et al. 2025; eSASRec).

    The gates read the residual itself, as eSASRec's code does (RecTools' ``LiGRLayer``), and not its norm. Validation
    on MovieLens-100K does not tell the two apart (``benchmarks/blocks.py``), so the reference is followed.
    """

    heads: int
    """H."""
    dropout: float
    """Dropped share of activations."""
    attends: ClassVar[bool] = True

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array, bias: jax.Array | None, queries: int, deterministic: bool
    ) -> jax.Array:
        """As ``Block``."""
        drop, width = Dropout(self.dropout), x.shape[-1]

        def gate(name, of):
            return nn.sigmoid(nn.Dense(width, kernel_init=_kernel("embed", None), name=name)(of))

        def wide(name, of):
            return nn.Dense(4 * width, kernel_init=_kernel("embed", "mlp"), name=name, use_bias=False)(of)

        context = nn.LayerNorm()(x)
        own = context[:, -queries:]
        attended = Attention(self.heads, self.dropout)(own, context, mask, bias, deterministic)
        x = x[:, -queries:]
        x = x + drop(gate("gate_attention", x) * attended, deterministic)
        own = nn.LayerNorm()(x)
        hidden = drop(wide("up", own) * nn.silu(wide("switch", own)), deterministic)
        hidden = nn.Dense(width, kernel_init=_kernel("mlp", "embed"), name="down", use_bias=False)(hidden)
        return x + drop(gate("gate_mlp", x) * hidden, deterministic)


class HstuBlock(nn.Module):
    """Pointwise gated attention without softmax (HSTU: Zhai et al. 2024).

    The SiLU of the scores is divided by the number of events that a query sees, not by L, so that neither packing nor
    cutting a short history changes it; the norm that follows takes out the factor anyway.
    """

    heads: int
    """H."""
    dropout: float
    """Dropped share of activations."""
    attends: ClassVar[bool] = True

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array, bias: jax.Array | None, queries: int, deterministic: bool
    ) -> jax.Array:
        """As ``Block``."""
        width = x.shape[-1]
        head, axes = (self.heads, width // self.heads), _kernel("embed", "heads", "head")

        def project(name, of):
            return nn.silu(nn.DenseGeneral(head, kernel_init=axes, name=name)(of))

        context = nn.LayerNorm()(x)
        own = context[:, -queries:]
        q, k, v = project("q", own), project("k", context), project("v", context)

        def attend(q, k, v, mask, bias):
            weights = nn.silu(_scores(q, k, bias)) * (mask / jnp.maximum(mask.sum(-1, keepdims=True), 1))[:, None]
            return _mixed(weights.astype(v.dtype), v)

        mixed = attend_causally(attend, q, k, v, mask, bias)
        mixed = nn.LayerNorm(reduction_axes=(-2, -1), feature_axes=(-2, -1))(mixed) * project("gate", own)
        mixed = Dropout(self.dropout)(mixed, deterministic)
        out = nn.DenseGeneral(width, axis=(-2, -1), kernel_init=_kernel("heads", "head", "embed"), name="out")
        return x[:, -queries:] + out(mixed)


class RelativeBias(nn.Module):
    """What is added to attention scores for how far apart two events are, in places and in time (HSTU)."""

    heads: int
    """H."""
    length: int
    """L."""

    @nn.compact
    def __call__(self, places: jax.Array, ages: jax.Array | None) -> jax.Array:
        """Places between query and key int32 [B, Q, L], and time between them int32 [B, Q, L] → [B, H, Q, L]."""
        zeros = nn.with_logical_partitioning(nn.initializers.zeros, (None, "heads"))
        table = self.param("places", zeros, (self.length, self.heads))
        bias = jnp.take(table, places, axis=0, mode="clip")
        if ages is not None:
            table = self.param("times", zeros, (BUCKETS, self.heads))
            bias += jnp.take(table, time_bucket(ages), axis=0, mode="clip")
        return bias.transpose(0, 3, 1, 2)


def time_bucket(ages: jax.Array) -> jax.Array:
    """Logarithmic buckets of times int32 in the log's unit: int32 in [0, 80), 0 for nothing and for less."""
    return jnp.floor(jnp.log(jnp.maximum(ages, 1).astype(jnp.float32)) / _BUCKET).astype(jnp.int32) + (ages > 0)


def causal_mask(segments: jax.Array) -> jax.Array:
    """Which positions of a packed row may look at which: the same segment, not later.

    Args:
        segments: int32 [B, L], 0 is padding.

    Returns:
        bool [B, L, L] (query, key).
    """
    same = (segments[:, :, None] == segments[:, None, :]) & (segments[:, :, None] > 0)
    return same & jnp.tril(jnp.ones(same.shape[1:], bool))


def normalize(x: jax.Array) -> jax.Array:
    """Unit vectors along the last axis; zeros stay zeros (as does their gradient)."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), 1e-12))
