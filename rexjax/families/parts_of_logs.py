"""Smaller training data from a log: some users, the latest events, or a part of the catalogue.

What is learnt from a part is compared with what is learnt from the whole, so the requests of a test stay those of the
whole log, except where the catalogue changes.
"""

from dataclasses import replace

import numpy as np

from rexjax.data.histories import Histories, log_positions
from rexjax.families.base import TrainingData


def with_users(data: TrainingData, share: float, seed: int) -> TrainingData:
    """``data`` without the events of all but a ``share`` of the users, drawn by ``seed``; users keep their numbers.

    Draws are nested: the users of a smaller share are among those of a larger one.
    """
    users = data.log.users
    drawn = np.zeros(users, bool)
    drawn[np.random.default_rng(seed).permutation(users)[: max(round(share * users), 1)]] = True
    return _restricted(data, np.repeat(drawn, np.diff(data.log.offsets)))


def with_latest(data: TrainingData, share: float) -> TrainingData:
    """``data`` with the latest ``share`` of its training events, by time; equal times are in the log's order."""
    _, events = data.events()
    order = events[np.argsort(data.log.times[events], kind="stable")]
    kept = np.ones(len(data.log.items), bool)
    kept[order[: len(order) - max(round(share * len(order)), 1)]] = False
    return _restricted(data, kept)


def with_items(data: TrainingData, share: float, seed: int) -> TrainingData:
    """``data`` of a ``share`` of the items, drawn by ``seed`` and numbered anew in their order; draws are nested."""
    kept = np.sort(np.random.default_rng(seed).permutation(data.items)[: max(round(share * data.items), 1)])
    number = np.full(data.items, -1)
    number[kept] = np.arange(len(kept))
    log = _without(data.log, number[data.log.items] >= 0)
    content = {name: vectors[kept] for name, vectors in data.content.items()}
    log = log._replace(items=number[log.items].astype(np.int32))
    return _of_log(replace(data, items=len(kept), content=content), log)


def _restricted(data: TrainingData, kept: np.ndarray) -> TrainingData:
    return _of_log(data, _without(data.log, kept))


def _without(log: Histories, kept: np.ndarray) -> Histories:
    """The log with the ``kept`` events (bool [E]) alone; each keeps its place in the whole log."""
    before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return Histories(
        log.items[kept],
        log.times[kept],
        before[log.offsets],
        before[log.valid_start],
        before[log.test_start],
        log_positions(log)[kept],
    )


def _of_log(data: TrainingData, log: Histories) -> TrainingData:
    smaller = replace(data, log=log, records=[log._asdict()], packed={})
    _, events = smaller.events()
    return replace(smaller, popularity=np.bincount(log.items[events], minlength=data.items))
