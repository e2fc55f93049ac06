"""The first pass over the rows for a few queries on a CPU: a loop in C++ that reads rows as they are kept, once.

XLA makes float32 of int8 and int4 rows in memory before it multiplies them, and uses one thread for one query.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax import native
from rexjax.embedding import rows as reading
from rexjax.embedding.quantized import QuantizedRows
from rexjax.embedding.row_format import RowFormat

QUERIES = 4
"""Queries at most: more of them are bound by arithmetic, which XLA's matrix product does as well."""
BLOCK = 128
"""Items in a block, S."""
_LANES = 16


def reads(queries: jax.Array, items: Any, cosine: bool) -> bool:
    """Whether ``block_maxima`` is there and reads such rows."""
    few = isinstance(queries.shape[0], int) and queries.shape[0] <= QUERIES
    return few and not cosine and reading.count(items) >= _LANES and _width_fits(items) and native.available()


def _width_fits(items: Any) -> bool:
    if isinstance(items, QuantizedRows):
        size = items.values.shape[-1]  # bytes of a row
        widths = (16, 32) if items.values.dtype == jnp.int8 else (8, 16, 32)
        return items.scales.dtype == jnp.float16 and (size in widths or size % 64 == 0)
    return not isinstance(items, RowFormat) and items.dtype == jnp.float32 and items.shape[-1] % _LANES == 0


def block_maxima(queries: jax.Array, items: Any, mask: jax.Array | None, cosine: bool = False) -> jax.Array:
    """Each block's best score.

    Args:
        queries: float32 [B, D], B at most ``QUERIES``.
        items: float32 [N, D], or QuantizedRows with float16 scales.
        mask: bool [1 or B, N], the items that count; None: all.
        cosine: must be False.

    Returns:
        float32 [B, ceil(N / S)], -inf where no item of the block counts.
    """
    return _best(queries, items, mask, BLOCK)


def scores(queries: jax.Array, items: Any, mask: jax.Array | None) -> jax.Array:
    """float32 [B, N], -inf where ``mask`` is False; the arguments are those of ``block_maxima``."""
    return _best(queries, items, mask, 1)


def _best(queries: jax.Array, items: Any, mask: jax.Array | None, block: int) -> jax.Array:
    is_quantized = isinstance(items, QuantizedRows)
    values, scales = (items.values, items.factors()) if is_quantized else (items, jnp.zeros(0, jnp.float16))
    found = jax.ShapeDtypeStruct((queries.shape[0], -(-reading.count(items) // block)), jnp.float32)
    call = jax.ffi.ffi_call("rexjax_block_maxima", found, vmap_method="sequential")
    return call(queries, values, scales, jnp.zeros((1, 0), bool) if mask is None else mask, block=np.int64(block))
