"""Vocabularies: dense ids that stay the same while a log grows.

An id gets its dense id when it is admitted and keeps it for ever. An id that is retired leaves a tombstone: its row of
a table stays, nothing else gets its number, and it is admitted again when it returns.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rexjax.errors import UserError, check_least

DAY = 86_400.0
"""Seconds."""
_WAITING = -1
_COLUMNS = ("id", "dense", "events", "last", "retired")


@dataclass(frozen=True)
class Admission:
    """When an id gets a row, and when it loses its place."""

    least_events: int = 1
    """Events before an id is admitted."""
    most_days: float = math.inf
    """Days since its last event after which an id is retired."""
    kept_events: int = 1 << 62
    """Ids with so many events are not retired, whatever their age."""

    def __post_init__(self) -> None:
        check_least(self, "admission", 1, "least_events", "kept_events")
        check_least(self, "admission", 0, "most_days")


class Vocabulary(NamedTuple):
    """All ids that were met, in no order that matters."""

    ids: pa.Array
    """Strings [K], each once."""
    dense: np.ndarray
    """int64 [K], -1 where an id waits to be admitted; the others are 0 to V - 1."""
    events: np.ndarray
    """int64 [K], so far."""
    last: np.ndarray
    """float64 [K], seconds since 1970 of the last event; -inf: none."""
    retired: np.ndarray
    """bool [K], tombstones."""

    @property
    def rows(self) -> int:
        """V, dense ids that are taken, tombstones among them."""
        return int(self.dense.max(initial=-1)) + 1


class Change(NamedTuple):
    """What an update did, in numbers of ids."""

    admitted: int
    returned: int
    retired: int
    waiting: int


def empty() -> Vocabulary:
    """No id."""
    none = np.zeros(0, np.int64)
    return Vocabulary(pa.array([], pa.string()), none, none, np.zeros(0), np.zeros(0, bool))


def of_rows(ids: Sequence[str]) -> Vocabulary:
    """Ids whose dense ids are their places, with no event yet.

    Raises:
        UserError: an id stands there twice.
    """
    if len(set(ids)) < len(ids):
        twice = next(name for place, name in enumerate(ids) if name in ids[:place])
        raise UserError(f"the id {twice!r} has two rows: give each id one row")
    count = len(ids)
    places, none = np.arange(count), np.zeros(count, np.int64)
    return Vocabulary(pa.array(ids, pa.string()), places, none, np.full(count, -np.inf), np.zeros(count, bool))


def update(
    vocabulary: Vocabulary, ids: Sequence[str], times: np.ndarray, rule: Admission, now: float
) -> tuple[Vocabulary, Change]:
    """Counts new events, admits ids and retires others.

    New dense ids follow those that are taken, in the order of the ids' SHA-256: numbers say nothing of who came first,
    and do not depend on the order of the events.

    Args:
        vocabulary: before.
        ids: E strings, one an event.
        times: float64 [E], seconds since 1970.
        rule: the counts and ages.
        now: the moment that ages are counted from, in seconds since 1970.

    Returns:
        The vocabulary, and the numbers of ids that changed.

    >>> known, change = update(of_rows(["mug"]), ["cup", "mug", "cup", "jar"], [1.0, 2.0, 3.0, 3.0], Admission(2), 4.0)
    >>> lookup(known, ["mug", "cup", "jar"]).tolist(), change
    ([0, 1, -1], Change(admitted=1, returned=0, retired=0, waiting=1))
    """
    counted = _count(vocabulary, ids, np.asarray(times, np.float64))
    ready = (counted.dense == _WAITING) & (counted.events >= rule.least_events)
    dense = counted.dense.copy()
    dense[_by_digest(counted.ids, np.flatnonzero(ready))] = counted.rows + np.arange(ready.sum())
    old = (now - counted.last > rule.most_days * DAY) & (counted.events < rule.kept_events) & np.isfinite(counted.last)
    retired = old & (dense != _WAITING)
    before = np.pad(vocabulary.retired, (0, len(retired) - len(vocabulary.retired)))
    returned, gone = before & ~retired, retired & ~before
    change = Change(int(ready.sum()), int(returned.sum()), int(gone.sum()), int((dense == _WAITING).sum()))
    return counted._replace(dense=dense, retired=retired), change


def _count(vocabulary: Vocabulary, ids: Sequence[str], times: np.ndarray) -> Vocabulary:
    """With new ids behind, which wait, and all events counted."""
    spelt = pa.array(ids, pa.string())
    unknown = pc.unique(spelt.filter(pc.invert(pc.is_in(spelt, vocabulary.ids))))
    known = pa.concat_arrays([vocabulary.ids, unknown])
    place = pc.index_in(spelt, known).to_numpy(zero_copy_only=False).astype(np.int64)
    added = len(unknown)
    last = np.append(vocabulary.last, np.full(added, -np.inf))
    np.maximum.at(last, place, times)
    events = np.append(vocabulary.events, np.zeros(added, np.int64)) + np.bincount(place, minlength=len(known))
    dense = np.append(vocabulary.dense, np.full(added, _WAITING))
    return Vocabulary(known, dense, events, last, np.append(vocabulary.retired, np.zeros(added, bool)))


def _by_digest(ids: pa.Array, places: np.ndarray) -> np.ndarray:
    names = ids.take(pa.array(places)).to_pylist()
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    return places[np.array(sorted(range(len(names)), key=digests.__getitem__), np.int64)]


def lookup(vocabulary: Vocabulary, ids: Sequence[str]) -> np.ndarray:
    """Dense ids int64 [E]; -1 where an id is unknown, waits or is retired."""
    place = pc.fill_null(pc.index_in(pa.array(ids, pa.string()), vocabulary.ids), -1).to_numpy(zero_copy_only=False)
    if not len(vocabulary.ids):
        return np.full(len(place), -1)
    return np.where((place < 0) | vocabulary.retired[place], -1, vocabulary.dense[place])


def write(vocabulary: Vocabulary, path: Path) -> None:
    """Writes a Parquet file."""
    pq.write_table(pa.table(list(vocabulary), names=list(_COLUMNS)), path)


def read(path: Path) -> Vocabulary:
    """What ``write`` left.

    Raises:
        UserError: the file lacks a column.
    """
    table = pq.read_table(path)
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise UserError(f"{path} is no vocabulary: it lacks the column {', '.join(missing)}")
    ids, *others = (table[name].combine_chunks() for name in _COLUMNS)
    return Vocabulary(ids, *(column.to_numpy(zero_copy_only=False) for column in others))
