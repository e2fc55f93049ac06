"""The item side: one learned row per item, fused with the item's text vector and features."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.models.fusion import Fusion, Sum, Widths, keep_some, modalities_present


class ItemEncoder(nn.Module):
    """One learned row and the projected text vector: an item that was never seen in training still has its text."""

    width: int
    """D."""
    fusion: str = "add"
    """``add``: row + text; ``gated``: a learned share of each, by feature; ``text``: the text alone;
    ``init_from_text``: the row alone, which began as the text (``rexjax.families.gradient``)."""
    features: int = 0
    """The last C columns of the text vectors are features (``rexjax.families.item_features``): their embeddings, zeros
    at first, are added to what row and text gave."""
    modalities: Fusion = Sum()
    """How the modalities that the text vectors consist of become one vector. With a key "modalities" in ``rngs`` it
    leaves some out, see ``Fusion.drop``."""
    widths: Widths = ()
    """Of the modalities, W in all; (): they are one."""

    @nn.compact
    def __call__(self, rows: jax.Array, text: jax.Array) -> jax.Array:
        """Fuses rows [..., D] and text vectors [..., W + C] (zeros where there is no text) to float32 [..., D].

        W = 0 means items without text: the row alone.
        """
        rows, width = rows.astype(jnp.float32), text.shape[-1] - self.features
        fused = self._with_text(rows, text[..., :width])
        if self.features <= 0:
            return fused
        kernel = nn.with_logical_partitioning(nn.initializers.zeros, (None, "embed"))
        return fused + nn.Dense(self.width, use_bias=False, kernel_init=kernel, name="features")(text[..., width:])

    def _with_text(self, rows: jax.Array, text: jax.Array) -> jax.Array:
        if not text.shape[-1] or self.fusion == "init_from_text":
            return rows
        kernel = nn.with_logical_partitioning(nn.initializers.lecun_normal(), (None, "embed"))
        projected = self._of_modalities(text)
        if self.fusion == "text":
            return projected
        if self.fusion == "add":
            return rows + projected
        gate = nn.Dense(self.width, kernel_init=kernel, name="gate")(jnp.concatenate([rows, projected], -1))
        return nn.sigmoid(gate) * rows + nn.sigmoid(-gate) * projected

    def _of_modalities(self, text: jax.Array) -> jax.Array:
        fusion, widths = self.modalities, self.widths or text.shape[-1:]
        present = None
        if fusion.drop and self.has_rng("modalities"):
            present = modalities_present(text, widths)
            present = keep_some(self.make_rng("modalities"), text, present, fusion.drop)
        return fusion.network(self.width, widths, "text")(text, present)
