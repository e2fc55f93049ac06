"""Histories packed, cut and cleaned in loops over their definitions."""

from collections import Counter

import numpy as np

from rexjax.data.histories import Histories


def prefix_label_pairs(log: Histories, length: int, shift: int = 0) -> list[tuple[tuple[int, ...], int, int]]:
    """(prefix inside its piece of L items, label, event) of every user's training part, sorted."""
    pairs = []
    for user in range(log.users):
        events = list(range(log.offsets[user], log.valid_start[user] - 1))
        while events:
            events, piece = events[:-length], events[-length:]
            for last in range(len(piece)):
                prefix = tuple(log.items[piece[: last + 1]].tolist())
                pairs.append((prefix, int(log.items[piece[last] + 1]), int(piece[last] + shift)))
    return sorted(pairs)


def latest(log: Histories, users: np.ndarray, stops: np.ndarray, length: int) -> np.ndarray:
    """The last L items of each user before ``stops``, padded with -1 on the left."""
    rows = []
    for user, stop in zip(users, stops, strict=True):
        own = log.items[log.offsets[user] : stop].tolist()[-length:]
        rows.append([-1] * (length - len(own)) + own)
    return np.asarray(rows)


def latest_times(log: Histories, users: np.ndarray, stops: np.ndarray, length: int) -> np.ndarray:
    """Times since the user's first event, of the last L before ``stops`` and of the one there; 0 is padding."""
    rows = []
    for user, stop in zip(users, stops, strict=True):
        first = log.offsets[user]
        own = [int(time - log.times[first]) for time in log.times[first : stop + 1]][-length - 1 :]
        rows.append([0] * (length + 1 - len(own)) + own)
    return np.asarray(rows)


def next_time(log: Histories) -> list[tuple[set[int], bool]]:
    """For each event the events of the same user's next later time in the training part, and whether there are any."""
    found = []
    for user in range(log.users):
        for event in range(log.offsets[user], log.offsets[user + 1]):
            later = range(event + 1, log.valid_start[user])
            times = [log.times[other] for other in later if log.times[other] > log.times[event]]
            found.append(({other for other in later if times and log.times[other] == min(times)}, bool(times)))
    return found


def k_core(pairs: list[tuple[int, int]], user_events: int, item_events: int) -> list[tuple[int, int]]:
    """Drops (user, item) pairs of rare users and items until nothing is left to drop."""
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = [(u, i) for u, i in pairs if users[u] >= user_events and items[i] >= item_events]
        if len(kept) == len(pairs):
            return kept
        pairs = kept


def leave_one_out(offsets: np.ndarray) -> list[tuple[int, int]]:
    """(valid_start, test_start) of each user."""
    ends = zip(offsets[:-1], offsets[1:], strict=True)
    return [(end - 2, end - 1) if end - start >= 3 else (end, end) for start, end in ends]


def global_time(offsets: np.ndarray, times: np.ndarray, first: float, second: float) -> list[tuple[int, int]]:
    """(valid_start, test_start) of each user: the first event at or after either moment."""
    cuts = []
    for start, end in zip(offsets[:-1], offsets[1:], strict=True):
        reached = [[e for e in range(start, end) if times[e] >= moment] for moment in (first, second)]
        cuts.append(tuple(events[0] if events else end for events in reached))
    return cuts


def last_session(offsets: np.ndarray, sessions: np.ndarray) -> list[tuple[int, int]]:
    """(valid_start, test_start) of each user: where the last session but one and the last one begin."""
    cuts = []
    for start, end in zip(offsets[:-1], offsets[1:], strict=True):
        begins = [e for e in range(start, end) if e == start or sessions[e] != sessions[e - 1]]
        cuts.append((begins[-2], begins[-1]) if len(begins) >= 3 else (end, end))
    return cuts


def last_validates(offsets: np.ndarray, tested: np.ndarray) -> list[tuple[int, int]]:
    """(valid_start, test_start) of each user: the last event tests if the user is tested, the one before validates."""
    cuts = []
    for start, end, tests in zip(offsets[:-1], offsets[1:], tested, strict=True):
        test = end - 1 if tests else end
        cuts.append((test - 1 if test - start >= 2 else test, test))
    return cuts


def without_cold(users: np.ndarray, items: np.ndarray, cold: np.ndarray) -> tuple[list[bool], list[bool]]:
    """Which events stay and which test, event by event: a user's first cold item behind two warm ones is the last."""
    warm, done, kept, tests = Counter(), set(), [], []
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        test = user not in done and bool(cold[item]) and warm[user] >= 2
        tests.append(test)
        kept.append(test or (user not in done and not cold[item]))
        warm[user] += not cold[item]
        done |= {user} if test else set()
    return kept, tests
