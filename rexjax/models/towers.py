"""Two towers: a network from what is known of an item to its vector, and one from a history to the user's (Yi et al.
2019). A score is the product of the two vectors."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.models.items import ItemEncoder
from rexjax.models.layers import BUCKETS, Dropout, Row
from rexjax.models.pooled import pool_by_recency, recency_profiles


class ItemTower(nn.Module):
    """``v + MLP(v)`` of the fused row and text vector v of an item."""

    width: int
    """D."""
    fusion: str
    """Of row and text, see ``ItemEncoder``."""
    hidden: int
    """Width of the hidden layer."""

    @nn.compact
    def __call__(self, rows: jax.Array, text: jax.Array) -> jax.Array:
        """Rows [..., D] and text vectors [..., W] (zeros where there is no text, W may be 0) to float32 [..., D]."""
        fused = ItemEncoder(self.width, self.fusion, name="fused")(rows, text)
        hidden = nn.gelu(nn.Dense(self.hidden, kernel_init=_kernel("embed", "mlp"), name="up")(fused))
        return fused + nn.Dense(self.width, kernel_init=_kernel("mlp", "embed"), name="down")(hidden)


class UserTower(nn.Module):
    """``mean + MLP(history pooled by K recency profiles, latest item)``, with the first pooled vector as ``mean``."""

    kernels: int
    """Recency profiles K."""
    hidden: int
    """Width of the hidden layer."""
    dropout: float
    """Dropped share of the hidden layer."""
    length: int
    """The longest history, L."""
    time: bool = False
    """Ages in time count too."""

    @nn.compact
    def __call__(self, x: jax.Array, row: Row, deterministic: bool, last: int | None = None) -> jax.Array:
        """Item vectors float32 [B, L, D] → user vectors float32 [B, L, D]; with ``last`` [B, Q, D] of the last Q."""
        decay = self.param("decay", recency_profiles, (self.kernels, self.length))
        ages = self.param("times", nn.initializers.zeros, (self.kernels, BUCKETS)) if self.time else None
        pooled = pool_by_recency(decay, ages, x, row, last or x.shape[1])
        queries = pooled.shape[1]
        latest = x[:, -queries:, None] * (row.segments > 0)[:, -queries:, None, None]
        known = jnp.concatenate([pooled, latest], 2)
        hidden = nn.gelu(nn.Dense(self.hidden, name="up")(known.reshape(*known.shape[:2], -1)))
        hidden = Dropout(self.dropout)(hidden, deterministic)
        return pooled[:, :, 0] + nn.Dense(x.shape[-1], name="down")(hidden)


def _kernel(*axes: str) -> nn.initializers.Initializer:
    return nn.with_logical_partitioning(nn.initializers.lecun_normal(), axes)
