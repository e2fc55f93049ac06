"""Rows of a sharded table for the ids of a batch: dedupe, route to the owners, read, route back; gradients likewise.

Everything here runs per device under ``shard_map``; n is the number of ids of *one* device, S the number of devices, R
the rows of one shard. Work and traffic follow n. A bucket holds C rows for one owner, and when ids crowd on an owner,
further rounds serve the rest: nothing is dropped. The rounds are cut by row, at the same row on all devices, so that
one row's requests from everywhere fall into the same round, and an update may sum them before the optimizer sees them.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Wire(NamedTuple):
    """What an exchange must know of the mesh and of the table (static)."""

    axes: tuple[str, ...]
    """Mesh axes over which the rows lie."""
    shards: int
    """S."""
    rows: int
    """R."""
    capacity: float
    """Rows in a bucket, relative to the n / S that even demand would fill."""

    def bucket(self, ids: int) -> int:
        """C for ``ids`` ids on a device."""
        return ids if self.shards == 1 else min(ids, math.ceil(self.capacity * ids / self.shards))


class Routing(NamedTuple):
    """The ids of one batch, deduplicated on each device: made once, used for reading and for updating."""

    ids: jax.Array
    """int32 [n]: sorted distinct physical rows, then padding beyond the table (distinct, for scatters that drop it)."""
    inverse: jax.Array
    """int32 [n]: where in ``ids`` each id of the batch went."""


class Round(NamedTuple):
    """Which of the unique ids go to which owner in one round."""

    start: jax.Array
    """int32 [S]: the first, as a place in ``Routing.ids``."""
    count: jax.Array
    """int32 [S]: how many, at most C."""


def dedupe(physical: jax.Array, beyond: int) -> Routing:
    """Sorted distinct ids; int32 [n], of which those not in [0, ``beyond``) are padding and become ``beyond``, ….

    One single-key sort and a binary search: on CPU a quarter of what ``jnp.unique`` takes (it sorts pairs).
    """
    n = physical.shape[0]
    physical = jnp.where((physical >= 0) & (physical < beyond), physical, beyond)
    ordered = jnp.sort(physical)
    first = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
    place = jnp.cumsum(first) - 1
    ids = beyond + jnp.arange(n, dtype=jnp.int32)
    ids = ids.at[jnp.where(ordered < beyond, place, n)].set(ordered, mode="drop")
    found = jnp.searchsorted(ordered, physical, method="scan_unrolled").astype(jnp.int32)
    return Routing(ids, place[found].astype(jnp.int32))


def fetch(read: Callable[[jax.Array], Any], unique: jax.Array, wire: Wire) -> tuple[Any, jax.Array]:
    """What ``read`` (local rows int32 [Q] → arrays [Q, …], zeros beyond R) gives for unique ids int32 [n].

    Returns:
        arrays [n, …] and the number of rounds it took, int32.
    """
    if wire.shards == 1:
        return read(unique), jnp.int32(1)
    size = wire.bucket(unique.shape[0])
    owner = jnp.minimum(unique // wire.rows, wire.shards - 1)

    def serve(part: Round, results: Any) -> Any:
        answers = read(_to_owners(_wanted(unique, part, size, wire), wire))
        answers = jax.tree.map(lambda x: _to_owners(x.reshape(wire.shards, size, *x.shape[1:]), wire), answers)
        place = jnp.arange(unique.shape[0]) - part.start[owner]
        served = (place >= 0) & (place < part.count[owner])
        place = owner * size + jnp.clip(place, 0, size - 1)

        def merge(old: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.where(_column(served, new.ndim), jnp.take(new, place, axis=0, mode="clip"), old)

        return jax.tree.map(merge, results, answers)

    shapes = jax.eval_shape(read, jax.ShapeDtypeStruct((unique.shape[0],), jnp.int32))
    return _rounds(unique, serve, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), size, wire)


def deliver(
    write: Callable[[Any, jax.Array, jax.Array], Any], carry: Any, unique: jax.Array, values: jax.Array, wire: Wire
) -> tuple[Any, jax.Array]:
    """Brings values float32 [n, D] of unique ids to their owners, summed over devices; each row arrives once.

    Args:
        write: (carry, local rows int32 [Q], sums float32 [Q, D]) → carry; rows are sorted, distinct, some beyond R.
        carry: what ``write`` changes.
        unique: int32 [n].
        values: float32 [n, D].
        wire: the mesh and the table.

    Returns:
        The last carry and the number of rounds, int32.
    """
    if wire.shards == 1:
        return write(carry, unique, values), jnp.int32(1)
    size = wire.bucket(unique.shape[0])

    def accept(part: Round, carry: Any) -> Any:
        rows = _to_owners(_wanted(unique, part, size, wire), wire)
        place = part.start[:, None] + jnp.arange(size)
        sums = _to_owners(jnp.take(values, place, axis=0, mode="clip"), wire)
        distinct = dedupe(rows, wire.rows)
        sums = jnp.zeros_like(sums).at[distinct.inverse].add(jnp.where(_column(rows < wire.rows, 2), sums, 0))
        return write(carry, distinct.ids, sums)

    return _rounds(unique, accept, carry, size, wire)


def _rounds(
    unique: jax.Array, body: Callable[[Round, Any], Any], carry: Any, size: int, wire: Wire
) -> tuple[Any, jax.Array]:
    """Calls ``body`` until every id had its turn; rows below ``low`` [S] of each shard are done."""
    base = jnp.arange(wire.shards, dtype=jnp.int32) * wire.rows
    end = jnp.searchsorted(unique, base + wire.rows).astype(jnp.int32)

    def turn(state: tuple[jax.Array, Any, jax.Array]) -> tuple[jax.Array, Any, jax.Array]:
        low, carry, number = state
        start = jnp.searchsorted(unique, base + low).astype(jnp.int32)
        # the first row that does not fit into this device's bucket, and then into anybody's
        beyond = jnp.take(unique, start + size, mode="clip") - base
        high = jax.lax.pmin(jnp.where(end - start > size, beyond, wire.rows), wire.axes)
        count = jnp.searchsorted(unique, base + high).astype(jnp.int32) - start
        return high, body(Round(start, count), carry), number + 1

    waiting = lambda state: (state[0] < wire.rows).any()  # noqa: E731
    _, carry, rounds = jax.lax.while_loop(waiting, turn, (jnp.zeros_like(base), carry, jnp.int32(0)))
    return carry, rounds


def _wanted(unique: jax.Array, part: Round, size: int, wire: Wire) -> jax.Array:
    """int32 [S, C]: the local rows asked of each owner; R where the bucket is not full."""
    slot = jnp.arange(size)
    ids = jnp.take(unique, part.start[:, None] + slot, mode="clip")
    local = ids - jnp.arange(wire.shards, dtype=jnp.int32)[:, None] * wire.rows
    return jnp.where(slot < part.count[:, None], local, wire.rows)


def _to_owners(x: jax.Array, wire: Wire) -> jax.Array:
    """[S, C, …] by destination → [S * C, …] by source."""
    moved = jax.lax.all_to_all(x, wire.axes, 0, 0)
    return moved.reshape(-1, *x.shape[2:])


def _column(x: jax.Array, ndim: int) -> jax.Array:
    return x.reshape(x.shape + (1,) * (ndim - 1))
