"""Rows of a sharded table for the ids of a batch: dedupe, route to the owners, read, route back; gradients likewise.

Everything here runs per device under ``shard_map``; n is the number of ids of *one* device, S the number of devices, R
the rows of one shard. Work and traffic follow n. A device takes a bounded number of requests in one round (``Padded``:
C from each other device; ``Ragged``: Q from all together), and when ids crowd on it, further rounds serve the rest:
nothing is dropped. The rounds are cut by row, at the same row on all devices, so that requests for one row from
everywhere fall into the same round, and an update may sum them before the optimizer sees them.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

Kind = Literal["all_to_all", "ragged_all_to_all", "all_gather"]


class Wire(NamedTuple):
    """What an exchange must know of the mesh and of the table (static)."""

    axes: tuple[str, ...]
    """Mesh axes over which the rows lie."""
    shards: int
    """S."""
    rows: int
    """R."""
    capacity: float
    """Room for requests, relative to even demand."""
    kind: Kind = "all_to_all"
    """``all_to_all``: padded buckets. ``ragged_all_to_all`` moves what there is to move; only TPUs have it.
    ``all_gather``: everybody sees everybody's ids, so that traffic follows the global batch: for small tables, and the
    slow twin in tests."""

    def bucket(self, ids: int) -> int:
        """C: requests of one device to another in a round, of ``ids`` on each."""
        return min(ids, math.ceil(self.capacity * ids / self.shards))

    def wide(self, ids: int) -> int:
        """K: ids of one device to another in a ragged round; ids are small, so that there may be room to spare."""
        return min(ids, math.ceil(4 * self.capacity * ids / self.shards))

    def room(self, ids: int) -> int:
        """Q: requests that a device takes in a ragged round; one row, asked for by everybody, must fit."""
        return max(self.shards, min(ids * self.shards, math.ceil(self.capacity * ids)))


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
    """int32 [S]: how many."""


def dedupe(physical: jax.Array, beyond: int) -> Routing:
    """Sorted distinct ids of integers [n], of which those not in [0, ``beyond``) are padding and become ``beyond``, ….

    One single-key sort and a binary search: on CPU a quarter of what ``jnp.unique`` takes (it sorts pairs).
    """
    n = physical.shape[0]
    physical = jnp.where((physical >= 0) & (physical < beyond), physical, beyond).astype(jnp.int32)
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
    transport = _TRANSPORTS[wire.kind]

    def serve(part: Round, results: Any) -> Any:
        way = transport(part, unique, wire)
        return jax.tree.map(way.back, read(way.wanted()), results)

    shapes = jax.eval_shape(read, jax.ShapeDtypeStruct(unique.shape, jnp.int32))
    return _rounds(unique, serve, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), wire)


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

    transport = _TRANSPORTS[wire.kind]

    def accept(part: Round, carry: Any) -> Any:
        way = transport(part, unique, wire)
        rows, arrived = way.wanted(), way.out(values)
        distinct = dedupe(rows, wire.rows)
        sums = jnp.zeros_like(arrived).at[distinct.inverse].add(jnp.where(_column(rows < wire.rows, 2), arrived, 0))
        return write(carry, distinct.ids, sums)

    return _rounds(unique, accept, carry, wire)


class Padded:
    """One round by ``all_to_all``: [S, C] each way."""

    def __init__(self, part: Round, unique: jax.Array, wire: Wire):
        self.part, self.unique, self.wire, self.size = part, unique, wire, wire.bucket(len(unique))

    @staticmethod
    def cut(unique: jax.Array, low: jax.Array, start: jax.Array, end: jax.Array, wire: Wire) -> jax.Array:
        """int32 [S]: up to which row of each shard this round goes: the first that does not fit into some bucket."""
        size, base = wire.bucket(len(unique)), _base(wire)
        beyond = jnp.take(unique, start + size, mode="clip") - base
        return jax.lax.pmin(jnp.where(end - start > size, beyond, wire.rows), wire.axes)

    def wanted(self) -> jax.Array:
        """int32 [S * C]: the local rows that others ask of this device; R where a bucket is not full."""
        slot = jnp.arange(self.size)
        local = jnp.take(self.unique, self.part.start[:, None] + slot, mode="clip") - _base(self.wire)[:, None]
        return self._exchange(jnp.where(slot < self.part.count[:, None], local, self.wire.rows))

    def out(self, values: jax.Array) -> jax.Array:
        """Values [n, …] of this device's ids, as ``wanted`` lists them at their owners (rubbish in empty places)."""
        return self._exchange(jnp.take(values, self.part.start[:, None] + jnp.arange(self.size), axis=0, mode="clip"))

    def back(self, answers: jax.Array, results: jax.Array) -> jax.Array:
        """Answers [S * C, …] to ``wanted``, filled into results [n, …] of those who asked."""
        answers = self._exchange(answers.reshape(self.wire.shards, self.size, *answers.shape[1:]))
        owner = jnp.minimum(self.unique // self.wire.rows, self.wire.shards - 1)
        place = jnp.arange(len(self.unique)) - self.part.start[owner]
        served = (place >= 0) & (place < self.part.count[owner])
        place = owner * self.size + jnp.clip(place, 0, self.size - 1)
        return jnp.where(_column(served, answers.ndim), jnp.take(answers, place, axis=0, mode="clip"), results)

    def _exchange(self, x: jax.Array) -> jax.Array:
        """[S, C, …] by destination → [S * C, …] by source."""
        return jax.lax.all_to_all(x, self.wire.axes, 0, 0).reshape(-1, *x.shape[2:])


class Ragged:
    """One round: ids by ``all_to_all`` in wide buckets [S, K], rows by ``ragged_all_to_all``; Q fit at an owner.

    Only rows that exist travel. (An id of its own would: on TPU each ragged row fills 128 lanes, 512 bytes.)
    """

    def __init__(self, part: Round, unique: jax.Array, wire: Wire):
        self.part, self.unique, self.wire = part, unique, wire

        def swap(x):
            return jax.lax.all_to_all(x, wire.axes, 0, 0, tiled=True)

        self.arriving = swap(part.count)
        self.offsets = jnp.cumsum(self.arriving) - self.arriving  # where each one's requests begin at this owner
        self.theirs, self.starts = swap(self.offsets), swap(part.start)

    @staticmethod
    def cut(unique: jax.Array, low: jax.Array, start: jax.Array, end: jax.Array, wire: Wire) -> jax.Array:
        """int32 [S]: up to which row of each shard this round goes: halved until all requests fit at the owner."""
        room, wide, base = wire.room(len(unique)), wire.wide(len(unique)), _base(wire)

        def crowded(high: jax.Array) -> jax.Array:
            count = jnp.searchsorted(unique, base + high).astype(jnp.int32) - start
            too_many = wire.shards * room * (count > wide)  # for one bucket is too many for all
            return jax.lax.psum(jnp.maximum(count, too_many), wire.axes) > room

        def halve(high):
            return jnp.where(crowded(high), low + (high - low + 1) // 2, high)

        return jax.lax.while_loop(lambda high: crowded(high).any(), halve, jnp.full_like(low, wire.rows))

    def wanted(self) -> jax.Array:
        """int32 [Q]: the local rows that others ask of this device, by source; R where nobody asks."""
        wide, room = self.wire.wide(len(self.unique)), self.wire.room(len(self.unique))
        ids = jnp.take(self.unique, self.part.start[:, None] + jnp.arange(wide), mode="clip")
        ids = jax.lax.all_to_all(ids - _base(self.wire)[:, None], self.wire.axes, 0, 0)
        place = jnp.arange(room)
        source = jnp.searchsorted(self.offsets + self.arriving, place, side="right")
        known = source < self.wire.shards
        source = jnp.minimum(source, self.wire.shards - 1)
        return jnp.where(known, ids[source, jnp.clip(place - self.offsets[source], 0, wide - 1)], self.wire.rows)

    def out(self, values: jax.Array) -> jax.Array:
        """Values [n, …] of this device's ids, as ``wanted`` lists them at their owners."""
        part, room = self.part, jnp.zeros((self.wire.room(len(values)), *values.shape[1:]), values.dtype)
        return jax.lax.ragged_all_to_all(
            values, room, part.start, part.count, self.theirs, self.arriving, axis_name=self.wire.axes
        )

    def back(self, answers: jax.Array, results: jax.Array) -> jax.Array:
        """Answers [Q, …] to ``wanted``, filled into results [n, …] of those who asked."""
        return jax.lax.ragged_all_to_all(
            answers, results, self.offsets, self.arriving, self.starts, self.part.count, axis_name=self.wire.axes
        )


class Gathered:
    """All in one round: everybody's ids go to all, [S * n], and each device answers for its own rows."""

    def __init__(self, part: Round, unique: jax.Array, wire: Wire):
        self.wire = wire
        local = self.out(unique) - jax.lax.axis_index(wire.axes) * wire.rows
        self.own = (local >= 0) & (local < wire.rows)
        self.rows = jnp.where(self.own, local, wire.rows)

    @staticmethod
    def cut(unique: jax.Array, low: jax.Array, start: jax.Array, end: jax.Array, wire: Wire) -> jax.Array:
        """int32 [S]: up to which row of each shard this round goes: the last."""
        return jnp.full_like(low, wire.rows)

    def wanted(self) -> jax.Array:
        """int32 [S * n]: the local rows that all devices ask for; R where they lie elsewhere."""
        return self.rows

    def out(self, values: jax.Array) -> jax.Array:
        """Values [n, …] of this device's ids, as ``wanted`` lists them everywhere."""
        return jax.lax.all_gather(values, self.wire.axes, tiled=True)

    def back(self, answers: jax.Array, results: jax.Array) -> jax.Array:
        """Answers [S * n, …] to ``wanted``; the sum over devices, one answer and zeros, goes to those who asked."""
        own = jnp.where(_column(self.own, answers.ndim), answers, 0)
        return jax.lax.psum_scatter(own, self.wire.axes, tiled=True)


_TRANSPORTS = {"all_to_all": Padded, "ragged_all_to_all": Ragged, "all_gather": Gathered}


def _rounds(unique: jax.Array, body: Callable[[Round, Any], Any], carry: Any, wire: Wire) -> tuple[Any, jax.Array]:
    """Calls ``body`` until every id had its turn; rows below ``low`` [S] of each shard are done."""
    base, cut = _base(wire), _TRANSPORTS[wire.kind].cut
    end = jnp.searchsorted(unique, base + wire.rows).astype(jnp.int32)

    def turn(state: tuple[jax.Array, Any, jax.Array]) -> tuple[jax.Array, Any, jax.Array]:
        low, carry, number = state
        start = jnp.searchsorted(unique, base + low).astype(jnp.int32)
        high = cut(unique, low, start, end, wire)
        count = jnp.searchsorted(unique, base + high).astype(jnp.int32) - start
        return high, body(Round(start, count), carry), number + 1

    def waiting(state):
        return (state[0] < wire.rows).any()

    _, carry, rounds = jax.lax.while_loop(waiting, turn, (jnp.zeros_like(base), carry, jnp.int32(0)))
    return carry, rounds


def _base(wire: Wire) -> jax.Array:
    """int32 [S]: the first physical row of each shard."""
    return jnp.arange(wire.shards, dtype=jnp.int32) * wire.rows


def _column(x: jax.Array, ndim: int) -> jax.Array:
    return x.reshape(x.shape + (1,) * (ndim - 1))
