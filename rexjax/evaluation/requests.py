"""What the evaluator asks: from packed histories and their cuts to one request a user."""

from collections.abc import Sequence

import numpy as np

from rexjax.artifacts.hashing import arrays_digest
from rexjax.data.batches import latest, latest_times
from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.evaluation.ranking import Requests, ragged
from rexjax.models.scorer import USER


def build(
    histories: Histories,
    part: str,
    *,
    items: int,
    length: int,
    exclude_seen: bool = True,
    most: int = 0,
    seed: int = 0,
) -> tuple[Requests, np.ndarray]:
    """The requests of the part "valid" or "test", and which users they are of (int64 [U]).

    A user's history is everything before the part; items in it cannot be recommended and are taken from the targets
    too. Users without history or without targets are left out. Targets that never occur in training stay.

    Args:
        histories: the log.
        part: "valid" or "test".
        items: size of the catalogue N.
        length: of histories longer than this, the latest items.
        exclude_seen: False lets the history be recommended again.
        most: at most so many users, drawn by ``seed``; 0 takes all.
        seed: see ``most``.
    """
    first, everyone = histories.offsets[:-1], np.arange(histories.users)
    start, stop = _bounds(histories, part, everyone)
    target_users, target_items = _distinct(_ragged(everyone, start, stop), histories.items, items)
    seen_users, seen_items = _distinct(_ragged(everyone, first, start), histories.items, items)
    if exclude_seen:
        seen = np.isin(target_users * items + target_items, seen_users * items + seen_items)
        target_users, target_items = target_users[~seen], target_items[~seen]
    else:
        seen_users, seen_items = seen_users[:0], seen_items[:0]
    users = np.intersect1d(np.unique(target_users), np.flatnonzero(start > first))
    if not len(users):
        raise UserError(f"no user has both a history and a new item in the {part} part: choose another --data.split")
    if most and len(users) > most:
        users = np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
    wanted_seen, wanted_targets = np.isin(seen_users, users), np.isin(target_users, users)
    return Requests(
        histories=latest(histories, users, start[users], length),
        seen_items=seen_items[wanted_seen].astype(np.int32),
        seen_offsets=_offsets(seen_users[wanted_seen], users),
        target_items=target_items[wanted_targets].astype(np.int32),
        target_offsets=_offsets(target_users[wanted_targets], users),
        times=latest_times(histories, users, start[users], length),
        features={USER: users.astype(np.int32)},
    ), users


def target_events(histories: Histories, asked: Requests, part: str, items: int) -> np.ndarray:
    """The first event of ``part`` with each target: int64 [F], positions in the events.

    Args:
        histories: the log that ``asked`` was built from.
        asked: requests with the users' numbers among their features.
        part: "valid" or "test".
        items: size of the catalogue N.
    """
    users = np.asarray(asked.features[USER], np.int64)
    owners, events = _ragged(users, *_bounds(histories, part, users))
    keys, first = np.unique(owners * items + histories.items[events], return_index=True)
    wanted = np.repeat(users, np.diff(asked.target_offsets)) * items + asked.target_items
    return events[first[np.searchsorted(keys, wanted)]]


def by_target(asked: Requests) -> Requests:
    """One request for each target, F of them; the user's other targets are candidates like all other items."""
    counts, offsets = np.diff(asked.target_offsets), asked.seen_offsets
    owners = np.repeat(np.arange(len(counts)), counts)
    if (counts == 1).all():
        return asked
    seen = _ragged(owners, offsets[owners], offsets[owners + 1])[1]
    return Requests(
        histories=asked.histories[owners],
        seen_items=asked.seen_items[seen],
        seen_offsets=np.append(0, np.cumsum(np.diff(offsets)[owners])),
        target_items=asked.target_items,
        target_offsets=np.arange(len(owners) + 1),
        times=None if asked.times is None else asked.times[owners],
        features={name: values[owners] for name, values in asked.features.items()},
    )


def sampled(asked: Requests, items: int, negatives: int, seed: int) -> Requests:
    """The same questions among few candidates: each user's targets and ``negatives`` items, drawn evenly from the rest.

    All other items count as seen. To show what ranking a sample does to a comparison (Krichene & Rendle, "On sampled
    metrics for item recommendation", KDD 2020): no figure of this project is such a one.

    Args:
        asked: questions to the whole catalogue.
        items: its size N.
        negatives: M, or all there are where there are fewer.
        seed: of the draws.
    """
    rng, left_out = np.random.default_rng(seed), []

    def own(ids, offsets, user):
        return ids[offsets[user] : offsets[user + 1]]

    for user in range(len(asked.histories)):
        seen = own(asked.seen_items, asked.seen_offsets, user)
        others = np.setdiff1d(np.arange(items), np.append(seen, own(asked.target_items, asked.target_offsets, user)))
        drawn = rng.permutation(others)[:negatives]
        left_out.append(np.append(seen, np.setdiff1d(others, drawn)))
    seen_items, seen_offsets = ragged(left_out)
    return asked._replace(seen_items=seen_items, seen_offsets=seen_offsets)


def identity(asked: Requests, item_ids: Sequence[str]) -> str:
    """Digest of a test: its users' targets, their seen items, and the candidates.

    Args:
        asked: the requests.
        item_ids: of all N items, in the order of dense ids.
    """
    names = ("target_items", "target_offsets", "seen_items", "seen_offsets")
    return arrays_digest({name: getattr(asked, name) for name in names} | {"items": np.asarray(item_ids, str)})[:16]


def _bounds(histories: Histories, part: str, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the part "valid" or "test" of each of ``users`` begins and ends: int64 [U] both."""
    if part == "valid":
        return histories.valid_start[users], histories.test_start[users]
    return histories.test_start[users], histories.offsets[1:][users]


def _ragged(users: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(user, event) pairs of all events in [start, stop) of each user."""
    counts = stops - starts
    events = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    return np.repeat(users, counts), events


def _distinct(pairs: tuple[np.ndarray, np.ndarray], events: np.ndarray, items: int) -> tuple[np.ndarray, np.ndarray]:
    keys = np.unique(pairs[0].astype(np.int64) * items + events[pairs[1]])
    return keys // items, keys % items


def _offsets(owners: np.ndarray, users: np.ndarray) -> np.ndarray:
    return np.append(np.searchsorted(owners, users), len(owners)).astype(np.int64)
