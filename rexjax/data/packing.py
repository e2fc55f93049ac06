"""From a log sorted by user to packed records, each user's history cut into training, validation and test."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rexjax.data import histories, shown, splits
from rexjax.data.histories import Histories

COLD = "cold_items.npy"
"""Beside the histories: bool [N], the items that the split cold_items holds out."""


class Packing(NamedTuple):
    """All that the cuts depend on, besides a user's own events."""

    split: str
    """``config.Data.split``."""
    cuts: tuple[float, ...] = ()
    """global_time: the two moments."""
    cold: np.ndarray | None = None
    """cold_items: bool [N], the items that are held out."""


def records(batches: Iterable[pa.RecordBatch], packing: Packing, first_event: int = 0) -> Iterator[Histories]:
    """Records of USERS_PER_RECORD users from batches sorted by user; the first one's first event has that position."""
    for block in histories.split_by_user(batches):
        record = pack(block, packing)._replace(first_event=first_event)
        yield record
        first_event += len(record.items)


def pack(block: dict[str, np.ndarray], packing: Packing) -> Histories:
    """The record of whole users: columns user, item, time, session and perhaps shown_at and propensity, sorted by user
    and time."""
    if packing.split == "cold_items":
        return _without_cold(block, packing.cold)
    if packing.split == "second_to_last":
        return _without_last(block)
    starts = np.flatnonzero(np.diff(block["user"], prepend=-1))
    offsets = np.append(starts, len(block["user"])).astype(np.int64)
    if packing.split == "global_time":
        valid, test = splits.global_time(offsets, block["time"], *packing.cuts)
    elif packing.split == "last_session":
        valid, test = splits.last_session(offsets, _runs(block["session"]))
    else:
        valid, test = splits.leave_one_out(offsets)
    return _kept(block, slice(None), offsets, valid.astype(np.int64), test.astype(np.int64))


def _kept(block: dict[str, np.ndarray], events: Any, *cuts: np.ndarray) -> Histories:
    """The record of the ``events`` (an index of arrays [E]) that stay, with offsets and cuts."""
    beside = {"positions": shown.POSITION, "propensities": shown.PROPENSITY}
    return Histories(
        block["item"][events].astype(np.int32),
        block["time"][events],
        *cuts,
        **{name: block[key][events].astype(np.float32) for name, key in beside.items() if key in block},
    )


def kept_events(block: dict[str, np.ndarray], packing: Packing) -> np.ndarray:
    """Which events of whole users ``pack`` keeps: bool [E].

    Args:
        block: columns user and item, sorted as in ``pack``.
        packing: all that the cuts depend on.
    """
    users = block["user"]
    if packing.split == "cold_items":
        return splits.without_cold(users, block["item"], packing.cold)[0]
    if packing.split == "second_to_last":
        return np.append(users[1:] == users[:-1], np.zeros(min(len(users), 1), bool))
    return np.ones(len(users), bool)


def _without_cold(block: dict[str, np.ndarray], cold: np.ndarray) -> Histories:
    kept, tests = splits.without_cold(block["user"], block["item"], cold)
    users = np.unique(block["user"])
    owner = np.searchsorted(users, block["user"])
    offsets = np.append(0, np.cumsum(np.bincount(owner, kept, len(users)))).astype(np.int64)
    valid, test = splits.last_validates(offsets, np.bincount(owner, tests, len(users)).astype(np.int64))
    return _kept(block, kept, offsets, valid, test)


def _without_last(block: dict[str, np.ndarray]) -> Histories:
    """Leave-one-out of the log without each user's last event."""
    starts = np.flatnonzero(np.diff(block["user"], prepend=-1))
    ends = np.append(starts[1:], len(block["user"])).astype(np.int64)
    kept = np.ones(len(block["user"]), bool)
    kept[ends - 1] = False
    offsets = np.append(0, ends - np.arange(1, len(ends) + 1))
    return _kept(block, kept, offsets, *splits.leave_one_out(offsets))


def _runs(sessions: np.ndarray) -> np.ndarray:
    """Sessions of any type as integers (only equality of neighbours matters)."""
    return np.cumsum(np.append(0, (sessions[1:] != sessions[:-1]).astype(np.int64)))
