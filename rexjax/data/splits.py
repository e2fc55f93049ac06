"""Splits, as two cuts through each user's history: [train | valid | test].

Every split the field uses is such a pair of cuts once a history is in the order of time: leave-one-out cuts off the
last two items, global time cuts all users at two moments, last session cuts off the last two invoices or visits. To
hold items out altogether, events must be dropped before.
"""

import numpy as np


def leave_one_out(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last item tests, the last but one validates; users with fewer than three events only train.

    Args:
        offsets: int64 [U + 1], where each user's events begin.

    Returns:
        valid_start, test_start: int64 [U], positions in the events.
    """
    ends = offsets[1:]
    enough = np.diff(offsets) >= 3
    return np.where(enough, ends - 2, ends), np.where(enough, ends - 1, ends)


def global_time(offsets: np.ndarray, times: np.ndarray, first: float, second: float) -> tuple[np.ndarray, np.ndarray]:
    """Events from the moment ``first`` on validate, from ``second`` on test (times: float64 [E], sorted by user)."""
    return _count_before(offsets, times < first), _count_before(offsets, times < second)


def last_session(offsets: np.ndarray, sessions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last session tests, the one before validates; users with fewer than three sessions only train.

    ``sessions`` (int64 [E]) are runs of equal values within a user's events.
    """
    starts = np.empty(len(sessions), bool)
    starts[1:] = sessions[1:] != sessions[:-1]
    starts[offsets[:-1][np.diff(offsets) > 0]] = True
    run_starts = np.flatnonzero(starts)
    first_run = np.searchsorted(run_starts, offsets[:-1])
    end_run = np.searchsorted(run_starts, offsets[1:])
    enough = end_run - first_run >= 3
    padded = np.append(run_starts, len(sessions))
    return (
        np.where(enough, padded[end_run - 2], offsets[1:]),
        np.where(enough, padded[end_run - 1], offsets[1:]),
    )


def without_cold(users: np.ndarray, items: np.ndarray, cold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which events stay where some items are new to everybody, and which of them test.

    A user's first cold item that two others precede is his test; what came after it is dropped, and so are his other
    cold items.

    Args:
        users: int [E], whose events they are, a user's one after another.
        items: int [E].
        cold: bool [N].

    Returns:
        kept, tests: bool [E].
    """
    new = cold[items]
    place = np.arange(len(users))
    first = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
    owner = np.cumsum(np.append(False, users[1:] != users[:-1]))
    warm = np.cumsum(~new)
    warm_before = warm - ~new - (warm - ~new)[first][owner]
    able = np.flatnonzero(new & (warm_before >= 2))
    chosen = np.full(len(first), len(users))
    np.minimum.at(chosen, owner[able], able)
    tests = place == chosen[owner]
    return tests | (~new & (place < chosen[owner])), tests


def last_validates(offsets: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last event of users who are ``tested`` (bool [U]) tests, and the last one before validates."""
    test = offsets[1:] - tested
    return np.where(test - offsets[:-1] >= 2, test - 1, test), test


def _count_before(offsets: np.ndarray, before: np.ndarray) -> np.ndarray:
    counts = np.concatenate([[0], np.cumsum(before)])
    return offsets[:-1] + counts[offsets[1:]] - counts[offsets[:-1]]
