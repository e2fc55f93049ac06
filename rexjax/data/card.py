"""The data card: what a prepared log is like, counted record by record."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rexjax.data.histories import Histories
from rexjax.data.settings import Data
from rexjax.data.time_facts import TimeTally, are_dates, spell_time
from rexjax.errors import UserError

_SHOWN_USERS = 3
_SHOWN_EVENTS = 8
_NEEDS = {
    "leave_one_out": "leave_one_out needs 3 interactions of a user",
    "second_to_last": "second_to_last needs 4 interactions of a user",
    "global_time": "global_time needs users with events before its last cut and behind it",
    "last_session": "last_session needs 3 sessions of a user",
    "cold_items": "cold_items needs users with 2 interactions before one with a held-out item",
}


class Span(NamedTuple):
    """When the log's events were, in seconds since 1970 or the log's own unit."""

    first: float
    last: float
    now: float
    """The present moment in seconds since 1970: later events are in the future."""
    dated: bool = False
    """Whether the log writes its times as dates, and not as numbers of some unit."""


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
    records: Iterable[Histories], steps: list[dict[str, Any]], span: Span, data: Data, titles: Sequence[str]
) -> dict[str, Any]:
    """Users, items, interactions, density, time span, ties, the cleaning steps, cold targets, some histories, notices.

    Args:
        records: the packed histories.
        steps: what cleaning removed and left.
        span: when the events were.
        data: the settings of stage prepare.
        titles: of all N items of the catalogue, in the order of dense ids.

    Raises:
        UserError: nobody is left to learn from, or to test on.
    """
    users, items = steps[-1]["users"], len(titles)
    tally, times, shown = _Tally(items), TimeTally(*span), list[dict[str, Any]]()
    for record in records:
        tally.add(record)
        times.add(record)
        shown += _some_histories(record, titles, len(shown), span)
    _refuse_idle(tally, users, data)
    trained, events = tally.trained > 0, int((tally.trained + tally.valid + tally.test).sum())
    return {
        "source": data.source.name(),
        "users": users,
        "items": items,
        "interactions": events,
        "density": events / (users * items),
        "history_length": tally.history_length(),
        **times.facts(),
        "split": data.split,
        "core_counts": "events before the cut" if data.split == "global_time" else "all events",
        "test_users": tally.evaluated,
        "users_without_test": users - tally.evaluated,
        "train_interactions": int(tally.trained.sum()),
        "cold_targets": {"valid": int(tally.valid[~trained].sum()), "test": int(tally.test[~trained].sum())},
        "items_without_training": int((~trained).sum()),
        "cleaning": steps,
        "histories": shown,
        "notices": times.notices(data.split),
    }


def _refuse_idle(tally: _Tally, users: int, data: Data) -> None:
    longest = tally.history_length()["max"]
    if tally.evaluated == 0:
        raise UserError(
            f"no user is left to test on with --data.split {data.split}: the {users} users have at most {longest} "
            f"interactions ({_NEEDS[data.split]})"
        )
    if not tally.teaches:
        raise UserError(
            f"no user has two training interactions: the {users} users have at most {longest} interactions, and "
            f"--data.split {data.split} holds out the others; choose another split or a longer log"
        )


def _some_histories(record: Histories, titles: Sequence[str], before: int, span: Span) -> list[dict[str, Any]]:
    """Histories of the first users, the latest events, to be checked by eye; raw ids of users are personal."""
    spell: Callable[[float], str] = "{:.15g}".format
    if span.dated or are_dates(span.first, span.last):
        spell = partial(spell_time, dated=span.dated)
    shown = []
    for user in range(min(_SHOWN_USERS - before, record.users)):
        start, stop = record.offsets[user], record.offsets[user + 1]
        events = [
            f"{spell(float(record.times[event]))} {titles[record.items[event]]}{_part(record, user, event)}"
            for event in range(max(start, stop - _SHOWN_EVENTS), stop)
        ]
        shown.append({"user": f"user {before + user + 1}", "interactions": int(stop - start), "latest": events})
    return shown


def _part(record: Histories, user: int, event: int) -> str:
    if event < record.valid_start[user]:
        return ""
    return " (validates)" if event < record.test_start[user] else " (tests)"


def _positions(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    counts = stops - starts
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
