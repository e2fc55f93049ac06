"""The data card: what a prepared log is like, counted record by record."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from rexjax.data.histories import Histories
from rexjax.data.settings import Data
from rexjax.errors import UserError


class _Tally:
    """Counts over all users; what grows with the log is not kept."""

    def __init__(self, items: int) -> None:
        self.lengths = np.zeros(1, np.int64)
        """Users by the length of their history."""
        self.trained, self.valid, self.test = (np.zeros(items, np.int64) for _ in range(3))
        """Events by item."""
        self.evaluated, self.teaches = 0, False

    def add(self, record: Histories) -> None:
        """Counts one record."""
        starts, ends = record.offsets[:-1], record.offsets[1:]
        bounds = (starts, record.valid_start, record.test_start, ends)
        for counts, start, stop in zip((self.trained, self.valid, self.test), bounds[:-1], bounds[1:], strict=True):
            np.add.at(counts, record.items[_positions(start, stop)], 1)
        found = np.bincount(ends - starts, minlength=len(self.lengths))
        self.lengths = found + np.pad(self.lengths, (0, len(found) - len(self.lengths)))
        self.evaluated += int(((ends > record.test_start) & (record.test_start > starts)).sum())
        self.teaches |= bool((record.valid_start - starts > 1).any())

    def history_length(self) -> dict[str, float]:
        """Shortest, median and longest history."""
        users, reached = int(self.lengths.sum()), np.cumsum(self.lengths)
        middle = np.searchsorted(reached, [(users - 1) // 2, users // 2], side="right")
        there = np.flatnonzero(self.lengths)
        return {"min": int(there[0]), "median": float(middle.mean()), "max": int(there[-1])}


def describe(
    records: Iterable[Histories], steps: list[dict[str, Any]], span: dict[str, float], data: Data
) -> dict[str, Any]:
    """Users, items, interactions, density, time span, the cleaning steps, cold targets.

    Raises:
        UserError: nobody is left to learn from, or to test on.
    """
    users, items = steps[-1]["users"], steps[-1]["items"]
    tally = _Tally(items)
    for record in records:
        tally.add(record)
    lengths, trained = tally.history_length(), tally.trained > 0
    events = int((tally.trained + tally.valid + tally.test).sum())
    if tally.evaluated == 0:
        raise UserError(
            f"no user is left to test on with --data.split {data.split}: the {users} users have "
            f"{lengths['max']} interactions at most (leave_one_out needs 3 of a user, last_session 3 sessions)"
        )
    if not tally.teaches:
        raise UserError(
            f"no user has two interactions to learn from: --data.split {data.split} holds out all others of the "
            f"{users} users, who have {lengths['max']} at most"
        )
    return {
        "source": data.source.name(),
        "users": users,
        "items": items,
        "interactions": events,
        "density": events / (users * items),
        "history_length": lengths,
        "time_span": {"first": span["first"], "last": span["last"]},
        "split": data.split,
        "test_users": tally.evaluated,
        "users_without_test": users - tally.evaluated,
        "train_interactions": int(tally.trained.sum()),
        "cold_targets": {"valid": int(tally.valid[~trained].sum()), "test": int(tally.test[~trained].sum())},
        "cleaning": steps,
    }


def _positions(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    counts = stops - starts
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
