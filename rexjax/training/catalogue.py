"""What training must know of the items: on the host, and on the devices beside the item table."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rexjax.embedding import order
from rexjax.embedding import table as tables
from rexjax.embedding.table import Table
from rexjax.runtime.mesh import replicated, sharding

BLOCKS = 1 << 20
"""Negatives are drawn by popularity from at most so many blocks of neighbouring items, evenly inside one (a block is
one item until there are more items)."""


class Catalogue(NamedTuple):
    """What training must know of the N items, on the host."""

    text: np.ndarray
    """float32 [N, W], zeros where there is no text."""
    popularity: np.ndarray
    """int64 [N], training interactions."""
    scored: np.ndarray | None = None
    """bool [N], items that a full softmax runs over; None: all. The others begin (and stay) at rows of zeros: they are
    what their text says, and nobody is taught that they are never chosen."""
    aligned: np.ndarray = np.zeros((0, 0), np.float32)
    """float32 [N, W'], unit vectors that a projection of the model's is to resemble; W' = 0: none."""
    prior: np.ndarray = np.zeros((0, 0), np.float32)
    """float32 [N, 1], what the loss adds to every logit of an item, and no answer does; [0, 0]: nothing."""


class Constants(NamedTuple):
    """The catalogue on the devices; all but the last lie as the item table does (P rows)."""

    text: jax.Array
    """float32 [P, W]."""
    real: jax.Array | None
    """bool [P], False for rows that only pad or are not scored; None: there are none."""
    aligned: jax.Array
    """float32 [P, W']."""
    prior: jax.Array
    """float32 [P, 1], or [P, 0]: nothing."""
    cumulative: jax.Array
    """int32 [blocks], on every device: training interactions (each item counts one more) up to each block's end."""


def constants_shardings(mesh: Mesh) -> Constants:
    """Rows over the whole mesh."""
    wide = sharding(mesh, "rows", None)
    return Constants(wide, sharding(mesh, "rows"), wide, wide, replicated(mesh))


def place(catalogue: Catalogue, table: Table, mesh: Mesh) -> Constants:
    """The catalogue as the devices need it."""
    items, rows = len(catalogue.popularity), tables.padded(table, mesh)
    item = np.asarray(order.to_physical(np.arange(rows), mesh))  # of each row
    inside = item < items
    real = inside if catalogue.scored is None else inside & catalogue.scored[np.minimum(item, items - 1)]

    def lie(rows):
        return np.where(inside[:, None], rows[np.minimum(item, items - 1)], 0).astype(np.float32)

    aligned, prior = (x if x.size else np.zeros((items, 0)) for x in (catalogue.aligned, catalogue.prior))
    size = block_size(items)
    weights = np.pad(catalogue.popularity + 1, (0, -items % size)).reshape(-1, size).sum(1)
    weights = np.maximum(weights // (weights.sum() // 2**30 + 1), 1)  # so that their sum is an int32
    cumulative = np.cumsum(weights).astype(np.int32)
    return jax.device_put(
        Constants(lie(catalogue.text), None if real.all() else real, lie(aligned), lie(prior), cumulative),
        constants_shardings(mesh),
    )


def block_size(items: int) -> int:
    """Items in one block of the negatives' distribution."""
    return -(-items // BLOCKS)


def draw_popular(constants: Constants, key: jax.Array, negatives: int, table: Table) -> tuple[jax.Array, jax.Array]:
    """M items by popularity (exact integer arithmetic) and the log of each one's share: int32, float32 [M]."""
    size, total = block_size(table.rows), constants.cumulative[-1]
    block_key, inner_key = jax.random.split(key)
    block = jnp.searchsorted(constants.cumulative, jax.random.randint(block_key, (negatives,), 0, total), side="right")
    inner = jax.random.randint(inner_key, (negatives,), 0, jnp.minimum(size, table.rows - block * size))
    drawn = (block * size + inner).astype(jnp.int32)
    return drawn, log_shares(constants, drawn, table)


def log_shares(constants: Constants, items: jax.Array, table: Table) -> jax.Array:
    """The log of each item's share of the training interactions, int32 [M] → float32 [M]; the same for all items of a
    block."""
    size = block_size(table.rows)
    block = items // size
    weight = constants.cumulative[block] - jnp.where(block > 0, constants.cumulative[block - 1], 0)
    return jnp.log(weight / constants.cumulative[-1] / jnp.minimum(size, table.rows - block * size))


def draw_evenly(constants: Constants, key: jax.Array, negatives: int, table: Table) -> tuple[jax.Array, jax.Array]:
    """M items, each as likely as any other, and the log of each one's share: int32, float32 [M]."""
    drawn = jax.random.randint(key, (negatives,), 0, table.rows)
    return drawn, jnp.full((negatives,), -jnp.log(float(table.rows)))
