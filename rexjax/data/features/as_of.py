"""As-of joins: user features that change in time, each event with the values that held strictly before it."""

from typing import NamedTuple

import numpy as np

from rexjax.errors import UserError


class Changes(NamedTuple):
    """When users' values began to hold, a row each, in any order."""

    users: np.ndarray
    """int64 [C], dense ids; -1 is nobody."""
    times: np.ndarray
    """float64 [C], in the unit of the events' times."""


def join(users: np.ndarray, times: np.ndarray, changes: Changes) -> np.ndarray:
    """The row of ``changes`` that holds for each event: the user's latest one strictly before the event's time.

    Of several rows of one moment the last one counts. A value of the event's own moment may be its consequence, so that
    it does not count.

    Args:
        users: int64 [E].
        times: float64 [E].
        changes: C rows.

    Returns:
        int64 [E], -1 where the user has no earlier row.

    Raises:
        UserError: a change has no time.

    >>> changes = Changes(np.array([0, 0, 1]), np.array([1.0, 5.0, 2.0]))
    >>> join(np.array([0, 0, 0, 1]), np.array([1.0, 5.0, 6.0, 3.0]), changes).tolist()
    [-1, 0, 1, 2]
    """
    if np.isnan(changes.times).any():
        row = int(np.flatnonzero(np.isnan(changes.times))[0])
        raise UserError(f"row {row + 1} of the users' values has no time: say from when on it holds")
    rows, events = len(changes.times), len(times)
    owner = np.concatenate([changes.users, users])
    is_change = np.arange(rows + events) < rows
    # at one moment the event comes first, so that it does not see the change
    order = np.lexsort((is_change, np.concatenate([changes.times, times]), owner))
    place = np.where(is_change[order], np.arange(len(order)), -1)
    last = np.maximum.accumulate(place)
    held = np.where(last >= 0, order[np.maximum(last, 0)], -1)
    held = np.where((held >= 0) & (owner[held] == owner[order]), held, -1)
    found = np.empty(rows + events, np.int64)
    found[order] = held
    return found[rows:]


def refuse_future(rows: np.ndarray, times: np.ndarray, changes: Changes) -> None:
    """Refuses values that did not hold yet.

    Args:
        rows: int64 [E], the row of ``changes`` that each event reads; -1: none.
        times: float64 [E], of the events.
        changes: C rows.

    Raises:
        UserError: an event reads a value of its own moment or of a later one.

    >>> refuse_future(np.array([0]), np.array([1.0]), Changes(np.array([0]), np.array([1.0])))
    Traceback (most recent call last):
    rexjax.errors.UserError: 1 of 1 events read a value from the future: event 1 at 1 reads one that holds from 1 on...
    """
    future = np.flatnonzero((rows >= 0) & (changes.times[np.maximum(rows, 0)] >= times)) if len(changes.times) else []
    if len(future):
        event = int(future[0])
        raise UserError(
            f"{len(future)} of {len(times)} events read a value from the future: event {event + 1} at "
            f"{times[event]:.15g} reads one that holds from {changes.times[rows[event]]:.15g} on; read values from "
            "strictly before the event, as rexjax.data.features.as_of.join finds them"
        )
