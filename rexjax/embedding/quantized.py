"""Rows in int8 or int4 with one scale each, read as they are and scaled on the fly.

int8 is a quarter of float32, int4 an eighth (two numbers a byte). Of a row only the direction matters to a cosine, so
the scale need not reach its largest entry: among a few it is the one with the least squared error.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.errors import UserError
from rexjax.runtime.arguments import check_floats

BITS = (8, 4)
"""Of a number in a row."""
ROW_SCALES = jnp.float16
"""Of item rows, which are unit vectors: two bytes an item; 11 bits of a scale outlast 8 of a number."""
_LEVELS = {8: 127, 4: 7}
_REACH = {8: (1.0,), 4: (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)}  # scales tried, of the largest entry


class QuantizedRows(NamedTuple):
    """``numbers * scales`` along the last axis; symmetric, so zero stays zero."""

    values: jax.Array
    """int8 [..., D], in [-127, 127]; or uint8 [..., D / 2], of int4 numbers in [-7, 7]: the first half of D in the low
    four bits, the second in the high ones, each plus 8."""
    scales: jax.Array
    """float32 [..., 1]; float16 for item rows."""

    @property
    def shared(self) -> tuple[str, ...]:
        """See ``RowFormat``."""
        return ()

    @property
    def width(self) -> int:
        """D."""
        return self.values.shape[-1] * (2 if self.values.dtype == jnp.uint8 else 1)  # int4: two numbers a byte

    def numbers(self) -> jax.Array:
        """See ``numbers``."""
        return numbers(self)

    def factors(self) -> jax.Array:
        """The scales [...]."""
        return self.scales[..., 0]

    def alike(self, rows: jax.Array) -> "QuantizedRows":
        """New rows in as many bits."""
        return quantize_rows(rows, 4 if self.values.dtype == jnp.uint8 else 8, self.scales.dtype)


def quantize_rows(rows: jax.Array, bits: int = 8, scales: Any = jnp.float32) -> QuantizedRows:
    """float32 [..., D] → rows of int8 (an error of at most half a scale in each entry) or int4.

    Scales are kept as the dtype ``scales``; float16 suits rows whose norms are near 1.

    Raises:
        TypeError: rows that are not floating-point numbers.
        ValueError: ``bits`` is neither 8 nor 4.
        UserError: int4 rows of an odd width.

    >>> import jax.numpy as jnp
    >>> rows = quantize_rows(jnp.asarray([[1.0, -0.5]]))
    >>> rows.values.tolist(), round(float(rows.scales[0, 0]), 4)  # 1 / 127
    ([[127, -64]], 0.0079)
    >>> dequantize(rows).round(2).tolist()
    [[1.0, -0.5]]
    """
    _check_rows(rows, bits)
    if bits == 4 and rows.shape[-1] % 2:
        raise UserError(f"int4 rows keep two numbers a byte, and {rows.shape[-1]} is odd: choose an even width")
    numbers, kept = _round(rows, bits, scales)
    numbers = numbers.astype(jnp.int8)
    return QuantizedRows(numbers if bits == 8 else _pack(numbers), kept)


def straight_through(rows: jax.Array, bits: int, scales: Any = jnp.float32) -> jax.Array:
    """float32 [..., D] as ``quantize_rows`` would leave it; gradients pass as if nothing had been rounded (Bengio et
    al. 2013), so that training can choose rows that bear it.

    Raises:
        TypeError: rows that are not floating-point numbers.
        ValueError: ``bits`` is neither 8 nor 4.

    >>> import jax, jax.numpy as jnp
    >>> rows = jnp.asarray([[7.0, 2.8]])
    >>> straight_through(rows, 4).round(2).tolist()  # seven steps of 1
    [[7.0, 3.0]]
    >>> jax.grad(lambda rows: straight_through(rows, 4).sum())(rows).tolist()
    [[1.0, 1.0]]
    """
    _check_rows(rows, bits)
    numbers, kept = _round(jax.lax.stop_gradient(rows), bits, scales)
    return rows + jax.lax.stop_gradient(numbers * kept - rows)


def _check_rows(rows: jax.Array, bits: int) -> None:
    check_floats("rows", rows)
    if bits not in BITS:
        raise ValueError(f"bits is {bits}: rows are kept in {' or '.join(map(str, BITS))} bits")


def _round(rows: jax.Array, bits: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Whole numbers as float32 [..., D] and scales [..., 1] as they are kept."""
    levels = _LEVELS[bits]
    largest = jnp.maximum(jnp.max(jnp.abs(rows), -1, keepdims=True), 1e-12).astype(jnp.float32)
    least, best = jnp.full_like(largest, jnp.inf), largest
    for reach in _REACH[bits]:
        scales = reach * largest / levels
        error = jnp.sum((_numbers(rows, scales, levels) * scales - rows) ** 2, -1, keepdims=True)
        best = jnp.where(error < least, reach * largest, best)
        least = jnp.minimum(error, least)
    kept = jnp.maximum(best / levels, jnp.finfo(dtype).tiny).astype(dtype)
    return _numbers(rows, kept, levels), kept


def _numbers(rows: jax.Array, scales: jax.Array, levels: int) -> jax.Array:
    return jnp.clip(jnp.round(rows / scales), -levels, levels)


def _pack(numbers: jax.Array) -> jax.Array:
    low, high = jnp.split((numbers + 8).astype(jnp.uint8), 2, -1)
    return low | high << 4


def numbers(rows: QuantizedRows) -> jax.Array:
    """float32 [..., D], before the scales."""
    if rows.values.dtype != jnp.uint8:
        return rows.values.astype(jnp.float32)
    both = jnp.concatenate([rows.values & 15, rows.values >> 4], -1)
    return both.astype(jnp.float32) - 8


def dequantize(rows: QuantizedRows) -> jax.Array:
    """The float32 [..., D] that ``rows`` stands for.

    >>> import jax.numpy as jnp
    >>> dequantize(QuantizedRows(jnp.asarray([[2, -4]], jnp.int8), jnp.asarray([[0.5]]))).tolist()
    [[1.0, -2.0]]
    """
    return numbers(rows) * rows.scales


def dequantize_tree(tree: Any) -> Any:
    """The float32 tree that ``quantize_tree`` stands for; trees without quantised leaves pass unchanged.

    >>> import jax.numpy as jnp
    >>> rows = QuantizedRows(jnp.asarray([[2, -4]], jnp.int8), jnp.asarray([[0.5]]))
    >>> tree = dequantize_tree({"kernel": rows, "bias": jnp.ones(1)})
    >>> tree["kernel"].tolist(), tree["bias"].tolist()
    ([[1.0, -2.0]], [1.0])
    """
    return jax.tree.map(
        lambda leaf: dequantize(leaf) if isinstance(leaf, QuantizedRows) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, QuantizedRows),
    )
