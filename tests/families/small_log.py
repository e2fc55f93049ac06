"""A small log, made by hand: 60 users, 40 items, baskets of one to three events that share a time."""

import jax
import numpy as np

from rexjax.data.histories import Histories
from rexjax.families.base import Run, TrainingData
from rexjax.runtime.mesh import make_mesh

USERS, ITEMS, LENGTH = 60, 40, 12


def make_log(users: int = USERS, items: int = ITEMS, longest: int = 16, seed: int = 0) -> Histories:
    """Random histories of 0 to ``longest`` events, with repeated items; the last two events are held out."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, longest + 1, users)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    popular = rng.dirichlet(np.ones(items))
    gaps = rng.choice([0, 0, 3600, 86_400], offsets[-1])
    times = 1e9 + np.concatenate([np.cumsum(gaps[a:b]) for a, b in zip(offsets[:-1], offsets[1:], strict=True)])
    return Histories(
        items=rng.choice(items, offsets[-1], p=popular).astype(np.int32),
        times=times,
        offsets=offsets,
        valid_start=np.maximum(offsets[1:] - 2, offsets[:-1]),
        test_start=np.maximum(offsets[1:] - 1, offsets[:-1]),
    )


def make_data(log: Histories, items: int = ITEMS, length: int = LENGTH) -> TrainingData:
    owners = np.repeat(np.arange(log.users), np.diff(log.offsets))
    trained = np.arange(len(log.items)) < log.valid_start[owners]
    return TrainingData(
        log=log,
        records=[log._asdict()],
        items=items,
        popularity=np.bincount(log.items[trained], minlength=items),
        length=length,
        content={"text": np.random.default_rng(1).normal(size=(items, 6)).astype(np.float32)},
    )


def training_histories(data: TrainingData) -> list[tuple[list[int], list[float]]]:
    """Items and times of each user's training part, for twins that loop."""
    log = data.log
    cuts = zip(log.offsets[:-1], log.valid_start, strict=True)
    return [(log.items[a:b].tolist(), log.times[a:b].tolist()) for a, b in cuts]


def grown(data: TrainingData, users: tuple[int, ...], more_users: int = 0, more_items: int = 0) -> TrainingData:
    """``data`` after three new training events of each of ``users`` and of new users, some with new items."""
    rng, log = np.random.default_rng(7), data.log
    histories = [(items, times) for items, times in training_histories(data)] + [([], [])] * more_users
    last = log.times.max()
    for user in (*users, *range(log.users, log.users + more_users)):
        items, times = histories[user]
        new = rng.integers(0, data.items + more_items, 3).tolist()
        histories[user] = items + new, times + [last + step for step in (1.0, 1.0, 2.0)]
    ends = np.cumsum([len(items) for items, _ in histories])
    joined = Histories(
        items=np.concatenate([items for items, _ in histories]).astype(np.int32),
        times=np.concatenate([times for _, times in histories]),
        offsets=np.append(0, ends),
        valid_start=ends,
        test_start=ends,
    )
    return make_data(joined, data.items + more_items)


def make_run(folder, devices: int = 1, **settings) -> Run:
    assert jax.device_count() >= devices
    return Run(
        make_mesh(devices), folder, validate=lambda scorer, users=0: {"ndcg@10": 0.1}, save_every=10**6, **settings
    )
