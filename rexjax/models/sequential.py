"""Sequential transformers over item vectors: the teacher (SASRec: Kang & McAuley 2018)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.models.layers import Block, causal_mask


class SequentialEncoder(nn.Module):
    """Causal transformer: each position's output is the user vector after the items up to it."""

    layers: int
    """Blocks."""
    heads: int
    """H."""
    dropout: float
    """Dropped share of activations."""
    length: int
    """The longest history, L."""

    @nn.compact
    def __call__(
        self, x: jax.Array, segments: jax.Array, positions: jax.Array, deterministic: bool, last: int | None = None
    ) -> jax.Array:
        """Item vectors float32 [B, L, D], segments and positions int32 [B, L] → user vectors float32 [B, L, D].

        With ``last`` only those of the last Q positions, [B, Q, D]: the last block then spends nothing on the others.
        """
        table = nn.with_logical_partitioning(nn.initializers.normal(0.02), (None, "embed"))
        table = self.param("positions", table, (self.length, x.shape[-1]))
        x = x * jnp.sqrt(x.shape[-1]) + jnp.take(table, positions, axis=0, mode="clip")
        x = nn.Dropout(self.dropout)(x, deterministic)
        mask = causal_mask(segments)
        for layer in range(self.layers):
            wanted = mask[:, -(last or mask.shape[1]) :] if layer == self.layers - 1 else mask
            x = Block(self.heads, self.dropout)(x, wanted, deterministic)
        return nn.LayerNorm()(x)
