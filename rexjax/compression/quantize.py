"""int8 with one scale a row: four times smaller than float32, read as it is and scaled on the fly."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class QuantizedRows(NamedTuple):
    """``values * scales`` along the last axis but one's rows; symmetric, so zero stays zero."""

    values: jax.Array
    """int8 [..., D], in [-127, 127]."""
    scales: jax.Array
    """float32 [..., 1]."""


def quantize_rows(rows: jax.Array) -> QuantizedRows:
    """float32 [..., D] → int8 with the scale max|row| / 127; an error of at most half a scale in each entry."""
    scales = jnp.maximum(jnp.max(jnp.abs(rows), -1, keepdims=True), 1e-12) / 127
    return QuantizedRows(jnp.round(rows / scales).astype(jnp.int8), scales.astype(jnp.float32))


def dequantize(rows: QuantizedRows) -> jax.Array:
    """The float32 [..., D] that ``rows`` stands for."""
    return rows.values.astype(jnp.float32) * rows.scales


def quantize_tree(tree: Any) -> Any:
    """Quantises every matrix of ``tree`` (a row is a slice along the last axis); vectors stay float32."""
    return jax.tree.map(lambda leaf: quantize_rows(leaf) if jnp.ndim(leaf) >= 2 else leaf, tree)


def dequantize_tree(tree: Any) -> Any:
    """The float32 tree that ``quantize_tree`` stands for; trees without quantised leaves pass unchanged."""
    return jax.tree.map(
        lambda leaf: dequantize(leaf) if isinstance(leaf, QuantizedRows) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, QuantizedRows),
    )
