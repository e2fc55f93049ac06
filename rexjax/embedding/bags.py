"""Bags: several ids of one feature combined into one vector; and several features that share a table."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from rexjax.runtime.arguments import check_integers, check_shape

Combiner = Literal["sum", "mean", "sqrtn"]


class Feature(NamedTuple):
    """One feature of those that share a table."""

    name: str
    combiner: Combiner | None = None
    """How the rows of a bag become one vector; None: there are no bags, each id has its own vector."""


def combine(
    rows: jax.Array, ids: jax.Array, combiner: Combiner = "mean", weights: jax.Array | None = None
) -> jax.Array:
    """Rows float [B, K, D] of bags int32 [B, K] (ragged ones padded with -1) → [B, D]; an empty bag gives zeros.

    Args:
        rows: what ``expand`` gave for ``ids``.
        ids: the bags.
        combiner: ``sum`` of weight × row; ``mean``: divided by the sum of weights; ``sqrtn``: by the root of the sum of
            their squares.
        weights: float32 [B, K]; all 1 where absent.

    Raises:
        TypeError: ids that are no integers.
        ValueError: rows or weights whose shape is not that of ``ids``, or another combiner.

    >>> import jax.numpy as jnp
    >>> rows = jnp.asarray([[[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]])
    >>> combine(rows, jnp.asarray([[5, 9, -1]]), "mean").tolist()
    [[2.0, 3.0]]
    """
    if combiner not in get_args(Combiner):
        raise ValueError(f"combiner is {combiner!r}: it must be one of {', '.join(get_args(Combiner))}")
    check_integers("ids", ids)
    check_shape("rows", rows, (*ids.shape, *rows.shape[-1:]), "ids")
    if weights is not None:
        check_shape("weights", weights, ids.shape, "ids")
    weights = jnp.where(ids >= 0, 1.0 if weights is None else weights, 0.0).astype(jnp.float32)
    total = jnp.einsum("bk,bkd->bd", weights, rows)
    if combiner == "sum":
        return total
    size = weights.sum(1) if combiner == "mean" else jnp.sqrt((weights**2).sum(1))
    return jnp.where(size == 0, 0, 1 / jnp.where(size == 0, 1, size))[:, None] * total


def pack(features: Mapping[str, jax.Array], devices: int) -> jax.Array:
    """The ids of several features that share a table as one list int32 [n], n divided by ``devices`` (-1 pads).

    Each device's part of the list holds its part of every feature, so that nothing crosses the wire for it.
    """
    parts = []
    for _, ids in sorted(features.items()):
        flat = ids.reshape(-1)
        parts.append(jnp.pad(flat, (0, -flat.size % devices), constant_values=-1).reshape(devices, -1))
    return jnp.concatenate(parts, 1).reshape(-1)


def unpack(values: jax.Array, features: Mapping[str, jax.Array], devices: int) -> dict[str, jax.Array]:
    """Undoes ``pack``: values [n, D] → for each feature, an array of its ids' shape and D."""
    by_device, found, start = values.reshape(devices, -1, values.shape[-1]), {}, 0
    for name, ids in sorted(features.items()):
        size = -(-ids.size // devices)
        flat = by_device[:, start : start + size].reshape(-1, values.shape[-1])
        found[name] = flat[: ids.size].reshape(*ids.shape, values.shape[-1])
        start += size
    return found
