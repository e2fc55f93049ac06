"""New events of a log beside those that are known: what is taken, what is late, and the split by time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rexjax.data import splits
from rexjax.data.histories import USERS_PER_RECORD, Histories
from rexjax.data.time_facts import spell_time
from rexjax.errors import UserError

DAY = 86_400.0
"""Seconds."""


class Events(NamedTuple):
    """Events as columns, in no order that matters but for those of one user and time."""

    users: np.ndarray
    """int64 [E], dense ids."""
    items: np.ndarray
    """int64 [E], dense ids."""
    times: np.ndarray
    """float64 [E], seconds since 1970."""


class News(NamedTuple):
    """What a refresh takes from a log, in numbers of events."""

    new: int
    """Events that are taken."""
    late: int
    """Events of known users and items that are not after the watermark and were not known: they are left out."""
    watermark: float
    """Time of the latest event that was known."""
    newest: float
    """Time of the latest event of the log."""


def events_of(histories: Histories) -> Events:
    """The events of histories."""
    users = np.repeat(np.arange(histories.users), np.diff(histories.offsets))
    return Events(users, histories.items.astype(np.int64), histories.times)


def take_new(known: Events, log: Events, *, repeats: bool) -> tuple[Events, News]:
    """The events of ``log`` that come after those of ``known``, and those of users or items that ``known`` lacks.

    The same log gives nothing new when it is taken a second time.

    Args:
        known: the events so far; the latest of their times is the watermark.
        log: events of the log as it is now; it may hold the known ones, or begin after them.
        repeats: whether a user's later events with an item count; else a pair that is known is left out.

    Raises:
        UserError: all events of ``log`` are older than the watermark.

    >>> known = Events(np.array([0, 0]), np.array([0, 1]), np.array([10.0, 20.0]))
    >>> log = Events(np.array([0, 0, 1]), np.array([1, 2, 0]), np.array([20.0, 15.0, 30.0]))
    >>> taken, news = take_new(known, log, repeats=True)
    >>> taken.users.tolist(), news.new, news.late  # item 2 is new to all, and user 1
    ([0, 1], 2, 0)
    """
    watermark, newest = float(known.times.max()), float(log.times.max())
    if newest < watermark:
        raise UserError(
            f"the log ends at {spell_time(newest)}, before the watermark {spell_time(watermark)} of what is known: "
            "name the log with the newer events"
        )
    users, items = int(known.users.max()) + 1, int(known.items.max()) + 1
    pairs = _numbered(known, log)
    familiar = np.isin(pairs[1], pairs[0])
    same = familiar & (not repeats)
    if repeats and familiar.any():
        same = _are_known(pairs, known.times, log.times)
    after = (log.times > watermark) | (log.users >= users) | (log.items >= items)
    taken = after & ~same
    late = int((~after & ~same).sum())
    kept = Events(*(column[taken] for column in log))
    return kept, News(int(taken.sum()), late, watermark, newest)


def _numbered(known: Events, log: Events) -> tuple[np.ndarray, np.ndarray]:
    """A number for each pair of a user and an item."""
    items = max(int(known.items.max()), int(log.items.max())) + 1
    return known.users * items + known.items, log.users * items + log.items


def _are_known(pairs: tuple[np.ndarray, np.ndarray], known: np.ndarray, times: np.ndarray) -> np.ndarray:
    """bool [E], whether the pair and its time are among the known ones."""
    both, when = np.concatenate(pairs), np.concatenate([known, times])
    fresh = np.repeat([0, 1], [len(known), len(times)])
    order = np.lexsort((fresh, when, both))
    same = np.append(False, (both[order][1:] == both[order][:-1]) & (when[order][1:] == when[order][:-1]))
    found = np.zeros(len(both), bool)
    found[order] = same
    return found[len(known) :]


def join(known: Events, new: Events, users: int, cuts: tuple[float, float]) -> Histories:
    """All events as histories of ``users`` users, split at two moments; known events come first at equal times."""
    columns = Events(*(np.concatenate(pair) for pair in zip(known, new, strict=True)))
    order = np.lexsort((columns.times, columns.users))  # stable
    offsets = np.append(0, np.cumsum(np.bincount(columns.users, minlength=users))).astype(np.int64)
    times = columns.times[order]
    valid, test = splits.global_time(offsets, times, *cuts)
    return Histories(columns.items[order].astype(np.int32), times, offsets, valid, test)


def records(histories: Histories) -> Iterator[Histories]:
    """Histories in records of ``USERS_PER_RECORD`` users, as they are stored."""
    for first in range(0, histories.users, USERS_PER_RECORD):
        offsets = histories.offsets[first : first + USERS_PER_RECORD + 1]
        users, events = slice(first, first + USERS_PER_RECORD), slice(offsets[0], offsets[-1])
        yield Histories(
            histories.items[events],
            histories.times[events],
            offsets - offsets[0],
            histories.valid_start[users] - offsets[0],
            histories.test_start[users] - offsets[0],
            first_event=int(offsets[0]),
        )


def cuts(newest: float, watermark: float, days: float) -> tuple[float, float]:
    """The moments from which events validate and test: the last ``days``, and as many before, but none before the
    watermark: what a model has learnt from does not judge it.

    Raises:
        UserError: the new events span no time.
    """
    if newest <= watermark:
        raise UserError(
            f"no event is later than the watermark {spell_time(watermark)}: there is no day that the models have not "
            "seen"
        )
    span = min(days * DAY, (newest - watermark) / 3)
    return newest - 2 * span, newest - span
