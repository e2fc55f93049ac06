"""Item rows as they are kept: float32, bfloat16, int8 or int4 with a scale each. Only what is read is made float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding.quantized import QuantizedRows, dequantize, numbers
from rexjax.errors import UserError


def count(rows: Any) -> int:
    """N."""
    return len(_values(rows))


def width(rows: Any) -> int:
    """D."""
    values = _values(rows)
    return values.shape[-1] * (2 if values.dtype == jnp.uint8 else 1)  # int4: two numbers a byte


def quantized(rows: Any) -> bool:
    """Whether reading them means making float32 of something smaller."""
    return _values(rows).dtype != jnp.float32


def gather(items: jax.Array, histories: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows of items [N, D] for histories int32 [B, L] (-1 is padding): vectors [B, L, D] and mask bool [B, L]."""
    mask = histories >= 0
    # fill: an id beyond the table gives zeros here and is refused at the edge; the default would clamp (jax#9839)
    vectors = jnp.take(items, jnp.where(mask, histories, 0), axis=0, mode="fill", fill_value=0)
    return vectors * mask[..., None], mask


def take(rows: Any, histories: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Vectors of histories int32 [B, L] (-1 is padding) from rows [N, D]: float32 [B, L, D] and mask bool [B, L]."""
    if isinstance(rows, QuantizedRows):
        scales, mask = gather(rows.scales, histories)
        return dequantize(QuantizedRows(gather(rows.values, histories)[0], scales)), mask
    vectors, mask = gather(rows, histories)
    return vectors.astype(jnp.float32), mask


def plain_rows(rows: Any) -> jax.Array:
    """float32 or bfloat16 [N, D] of rows in any format."""
    return dequantize(rows) if isinstance(rows, QuantizedRows) else jnp.asarray(rows)


def piece(rows: Any, start: Any, size: int) -> Any:
    """``size`` rows from ``start``, as they are kept; ``start + size`` must be at most N."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), rows)


def score(queries: jax.Array, rows: Any, cosine: bool = False) -> jax.Array:
    """float32 [..., D] · rows [..., N, D] → float32 [..., N], or with queries [B, D] and rows [N, D], [B, N].

    Numbers are multiplied as they are kept, and their scales come after; with ``cosine`` each row's norm does (queries
    must be unit vectors then).
    """
    values = _multiplied(rows)
    products = jnp.einsum("bd,nd->bn" if values.ndim == 2 else "bd,bnd->bn", queries, values, precision="highest")
    factors = _factors(rows, values, cosine)
    return products if factors is None else products * factors


def score_by_row(queries: jax.Array, rows: Any, cosine: bool = False) -> jax.Array:
    """As ``score`` of queries [B, D] and rows [N, D], but float32 [N, B]."""
    values = _multiplied(rows)
    products = jnp.einsum("nd,bd->nb", values, queries, precision="highest")
    factors = _factors(rows, values, cosine)
    return products if factors is None else products * factors[:, None]


def _multiplied(rows: Any) -> jax.Array:
    return numbers(rows) if isinstance(rows, QuantizedRows) else rows.astype(jnp.float32)


def _factors(rows: Any, values: jax.Array, cosine: bool) -> jax.Array | None:
    """What products of ``values`` [..., N, D] are still to be multiplied with, [..., N]."""
    if cosine:
        # one over the norm: a vector of N, where dividing the rows would be a matrix of N × D
        return jax.lax.rsqrt(jnp.maximum(jnp.sum(values**2, -1), 1e-24))
    return rows.scales[..., 0] if isinstance(rows, QuantizedRows) else None


def _values(rows: Any) -> Any:
    return rows.values if isinstance(rows, QuantizedRows) else rows


def check_ids(ids: np.ndarray, rows: int, column: str) -> None:
    """At the data's edge: inside, an id beyond the table would count as padding.

    Raises:
        UserError: an id below -1 or not below ``rows``; names the column, the place and the value.
    """
    flat = np.asarray(ids).reshape(-1)
    wrong = np.flatnonzero((flat < -1) | (flat >= rows))
    if len(wrong):
        raise UserError(
            f"column {column!r} holds the id {flat[wrong[0]]} at place {wrong[0]}: ids of a table of {rows} rows go "
            f"from 0 to {rows - 1}, and -1 stands for none"
        )
