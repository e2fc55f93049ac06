"""Layers that several models share."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def _kernel(*axes: str) -> nn.initializers.Initializer:
    return nn.with_logical_partitioning(nn.initializers.xavier_uniform(), axes)


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017)."""

    heads: int
    """H; divides the width."""
    dropout: float
    """Dropped share of attention weights."""

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array, mask: jax.Array, deterministic: bool) -> jax.Array:
        """float32 [B, Q, D] attends to context [B, L, D] where mask (bool [B, Q, L]) allows it."""
        width = x.shape[-1]
        head = (self.heads, width // self.heads)
        axes = _kernel("embed", "heads", "head")
        project = lambda name, of: nn.DenseGeneral(head, use_bias=False, kernel_init=axes, name=name)(of)  # noqa: E731
        q, k, v = project("q", x), project("k", context), project("v", context)
        scores = jnp.einsum("bqhd,blhd->bhql", q, k) / jnp.sqrt(head[1])
        weights = nn.softmax(jnp.where(mask[:, None], scores, jnp.finfo(scores.dtype).min))
        weights = nn.Dropout(self.dropout)(weights, deterministic)
        mixed = jnp.einsum("bhql,blhd->bqhd", weights, v)
        return nn.DenseGeneral(width, axis=(-2, -1), kernel_init=_kernel("heads", "head", "embed"), name="out")(mixed)


class Block(nn.Module):
    """A pre-norm transformer block with a GELU MLP of four times the width."""

    heads: int
    """H."""
    dropout: float
    """Dropped share of activations."""

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, deterministic: bool) -> jax.Array:
        """float32 [B, L, D] → the last Q positions [B, Q, D], those that mask (bool [B, Q, L]) has queries for."""
        drop = nn.Dropout(self.dropout)
        context = nn.LayerNorm()(x)
        queries = mask.shape[1]
        attended = Attention(self.heads, self.dropout)(context[:, -queries:], context, mask, deterministic)
        x = x[:, -queries:] + drop(attended, deterministic)
        hidden = nn.Dense(4 * x.shape[-1], kernel_init=_kernel("embed", "mlp"), name="up")(nn.LayerNorm()(x))
        hidden = nn.Dense(x.shape[-1], kernel_init=_kernel("mlp", "embed"), name="down")(nn.gelu(hidden))
        return x + drop(hidden, deterministic)


def causal_mask(segments: jax.Array) -> jax.Array:
    """Which positions of a packed row may look at which: the same segment, not later.

    Args:
        segments: int32 [B, L], 0 is padding.

    Returns:
        bool [B, L, L] (query, key).
    """
    same = (segments[:, :, None] == segments[:, None, :]) & (segments[:, :, None] > 0)
    return same & jnp.tril(jnp.ones(same.shape[1:], bool))
