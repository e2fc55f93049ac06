"""Sequential encoders of item vectors: attention (SASRec: Kang & McAuley 2018; gated blocks; HSTU) or recurrence."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.models.layers import Block, Dropout, GatedBlock, HstuBlock, RelativeBias, Row, causal_mask
from rexjax.models.recurrent import RecurrentBlock

BLOCKS = {"sasrec": Block, "gated": GatedBlock, "hstu": HstuBlock, "gru": RecurrentBlock}
"""By their names in a config: modules that are made and called as ``Block`` is."""


class SequentialEncoder(nn.Module):
    """A causal stack of blocks: each position's output is the user vector after the items up to it."""

    layers: int
    """Blocks."""
    heads: int
    """H; 0 for blocks without attention."""
    dropout: float
    """Dropped share of activations."""
    length: int
    """The longest history, L."""
    block: str = "sasrec"
    """One of ``BLOCKS``."""
    time: str = "none"
    """What attention knows of time: "none"; of the "history" alone; or also when the "query" is asked. Recurrence knows
    none."""

    @nn.compact
    def __call__(self, x: jax.Array, row: Row, deterministic: bool, last: int | None = None) -> jax.Array:
        """Item vectors float32 [B, L, D] → user vectors float32 [B, L, D].

        ``row.times`` are each event's own and that of the event asked for after it, in the log's unit; they are read
        if ``time`` says so. With ``last`` only the last Q positions, [B, Q, D]: the last block then
        spends nothing on the others.
        """
        table = nn.with_logical_partitioning(nn.initializers.normal(0.02), (None, "embed"))
        table = self.param("positions", table, (self.length, x.shape[-1]))
        x = x * jnp.sqrt(x.shape[-1]) + jnp.take(table, row.positions, axis=0, mode="clip")
        x = Dropout(self.dropout)(x, deterministic)
        mask, bias = causal_mask(row.segments), self._bias(row)
        block = BLOCKS[self.block]
        for layer in range(self.layers):
            queries = last if last and layer == self.layers - 1 else x.shape[1]
            x = block(self.heads, self.dropout)(x, mask, bias, queries, deterministic)
        return nn.LayerNorm()(x)

    def _bias(self, row: Row) -> jax.Array | None:
        """Shared by all blocks; HSTU always has one, recurrence never."""
        if not BLOCKS[self.block].attends or (self.block != "hstu" and self.time == "none"):
            return None
        ages = None
        if self.time != "none":
            asked = row.times[..., int(self.time == "query")]
            ages = asked[:, :, None] - row.times[:, None, :, 0]
        return RelativeBias(self.heads, self.length)(row.positions[:, :, None] - row.positions[:, None, :], ages)
