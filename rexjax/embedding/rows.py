"""Item rows as they are kept: float32, bfloat16, or a ``RowFormat``. Only what is read is made float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding.product import ProductRows
from rexjax.embedding.quantized import QuantizedRows
from rexjax.embedding.row_format import RowFormat, arrays_by_row, map_rows
from rexjax.errors import UserError

FORMATS: tuple[Any, ...] = (QuantizedRows, ProductRows)
"""Formats that are named tuples: stored rows are recognised by their fields, of which the first is the rows' own."""


def count(rows: Any) -> int:
    """N."""
    return len(arrays_by_row(rows)[0])


def width(rows: Any) -> int:
    """D."""
    return rows.width if isinstance(rows, RowFormat) else rows.shape[-1]


def quantized(rows: Any) -> bool:
    """Whether reading them means making float32 of something smaller."""
    return isinstance(rows, RowFormat) or rows.dtype != jnp.float32


def gather(items: jax.Array, histories: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows of items [N, D] for histories int32 [B, L] (-1 is padding): vectors [B, L, D] and mask bool [B, L]."""
    mask = histories >= 0
    # fill: an id beyond the table gives zeros here and is refused at the edge; the default would clamp (jax#9839)
    vectors = jnp.take(items, jnp.where(mask, histories, 0), axis=0, mode="fill", fill_value=0)
    return vectors * mask[..., None], mask


def take(rows: Any, histories: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Vectors of histories int32 [B, L] (-1 is padding) from rows [N, D]: float32 [B, L, D] and mask bool [B, L]."""
    if not isinstance(rows, RowFormat):
        vectors, mask = gather(rows, histories)
        return vectors.astype(jnp.float32), mask
    inside = (histories >= 0) & (histories < count(rows))  # a code of zero stands for no row of zeros
    vectors = plain_rows(at(rows, jnp.where(inside, histories, 0)))
    return vectors * inside[..., None], histories >= 0


def at(rows: Any, ids: jax.Array) -> Any:
    """The rows of ids int32 [...], which are all in [0, N), as they are kept."""
    return map_rows(lambda leaf: jnp.asarray(leaf)[ids], rows)


def plain_rows(rows: Any) -> jax.Array:
    """float32 or bfloat16 [N, D] of rows in any format."""
    if not isinstance(rows, RowFormat):
        return jnp.asarray(rows)
    factors = rows.factors()
    return rows.numbers() if factors is None else rows.numbers() * factors[..., None]


def alike(rows: jax.Array, like: Any) -> Any:
    """float32 [M, D] in the format of ``like``."""
    return like.alike(rows) if isinstance(like, RowFormat) else rows.astype(like.dtype)


def piece(rows: Any, start: Any, size: int) -> Any:
    """``size`` rows from ``start``, as they are kept; ``start + size`` must be at most N."""
    return map_rows(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), rows)


def pieces(rows: Any, starts: jax.Array, size: int) -> Any:
    """``size`` rows from each of starts int32 [B, J], as they are kept: [B, J * size, D]."""

    def cut(leaf: jax.Array) -> jax.Array:
        each = jax.vmap(jax.vmap(lambda start: jax.lax.dynamic_slice_in_dim(leaf, start, size)))(starts)
        return each.reshape(starts.shape[0], -1, leaf.shape[-1])

    return map_rows(cut, rows)


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
    return rows.numbers() if isinstance(rows, RowFormat) else rows.astype(jnp.float32)


def _factors(rows: Any, values: jax.Array, cosine: bool) -> jax.Array | None:
    """What products of ``values`` [..., N, D] are still to be multiplied with, [..., N]."""
    if cosine:
        # one over the norm: a vector of N, where dividing the rows would be a matrix of N × D
        return jax.lax.rsqrt(jnp.maximum(jnp.sum(values**2, -1), 1e-24))
    return rows.factors() if isinstance(rows, RowFormat) else None


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
