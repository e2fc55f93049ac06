"""Two towers: a network from what is known of an item to its vector, and one from a history to the user's (Yi et al.
2019). A score is the product of the two vectors."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.models.fusion import Fusion, Sum, Widths
from rexjax.models.items import ItemEncoder
from rexjax.models.layers import Row
from rexjax.models.pooled import PooledEncoder


class ItemTower(nn.Module):
    """``v + MLP(v)`` of the fused row and text vector v of an item."""

    width: int
    """D."""
    fusion: str
    """Of row and text, see ``ItemEncoder``."""
    hidden: int
    """Width of the hidden layer."""
    features: int = 0
    """See ``ItemEncoder``."""
    modalities: Fusion = Sum()
    """See ``ItemEncoder``."""
    widths: Widths = ()
    """See ``ItemEncoder``."""

    @nn.compact
    def __call__(self, rows: jax.Array, text: jax.Array) -> jax.Array:
        """Rows [..., D] and text vectors [..., W + C] (zeros where there is none, W may be 0) to float32 [..., D]."""
        item = ItemEncoder(self.width, self.fusion, self.features, self.modalities, self.widths, name="fused")
        fused = item(rows, text)
        hidden = nn.gelu(nn.Dense(self.hidden, kernel_init=_kernel("embed", "mlp"), name="up")(fused))
        return fused + nn.Dense(self.width, kernel_init=_kernel("mlp", "embed"), name="down")(hidden)


class UserTower(PooledEncoder):
    """``mean + MLP(history pooled by K recency profiles, latest item)``, with the first pooled vector as ``mean``."""

    def known(self, pooled: jax.Array, x: jax.Array, row: Row) -> jax.Array:
        """The pooled history [B, Q, K, D] and the latest item: [B, Q, (K + 1) D]."""
        queries = pooled.shape[1]
        latest = x[:, -queries:, None] * (row.segments > 0)[:, -queries:, None, None]
        return super().known(jnp.concatenate([pooled, latest], 2), x, row)


def _kernel(*axes: str) -> nn.initializers.Initializer:
    return nn.with_logical_partitioning(nn.initializers.lecun_normal(), axes)
