"""What models that count have in common: recency of histories, and sparse counts of the training events."""

import itertools
import math
import os
from abc import ABC
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from rexjax.errors import check_least, check_range
from rexjax.families.base import Model, TrainingData
from rexjax.models.recency import Unit

PAIRS = 5_000_000
"""Pairs of events that a thread counts at a time: some 50 MB."""


@dataclass(frozen=True)
class CountingModel(Model, ABC):
    """A model of the distinct items of a history, weighted by recency.

    Most sum item-item weights over them. An item of the history counts ``decay ** age``, where its age is the number of
    steps since its latest event. An item that occurs several times counts once.
    """

    decay: float = 1.0
    """Weight per step back in the history: 1 weighs all events alike, 0 keeps the latest step only."""
    recency: Unit = "events"
    """A step is an event or, with 'times', a distinct time: the events of one invoice or basket then weigh the same."""

    def __post_init__(self) -> None:
        check_range(self, type(self).__name__, "a number from 0 to 1", lambda value: 0 <= value <= 1, "decay")

    def variations(self) -> dict[str, Model]:
        """A faster and a slower decay, the other unit of recency, and every other number doubled and halved."""
        rest = super(CountingModel, replace(self, decay=0.0)).variations()  # zeros are not varied
        kept = {name: replace(model, decay=self.decay) for name, model in rest.items()}
        decays = {"faster decay": round(self.decay**2, 4) if self.decay < 1 else 0.9}
        if 0 < self.decay < 1:
            decays["slower decay"] = round(math.sqrt(self.decay), 4)
        other: Unit = "events" if self.recency == "times" else "times"
        changed = {name: replace(self, decay=decay) for name, decay in decays.items()}
        return changed | {f"recency in {other}": replace(self, recency=other)} | kept


def count_events(data: TrainingData) -> sp.csr_array:
    """How often each user met each item in training: float32 [U, N]."""
    users, events = data.events()
    entries = np.ones(len(events), np.float32), (users, data.log.items[events])
    return sp.coo_array(entries, (data.log.users, data.items)).tocsr()


def binary(matrix: sp.csr_array) -> sp.csr_array:
    """1 where an entry is not 0."""
    return sp.csr_array((np.ones_like(matrix.data), matrix.indices, matrix.indptr), matrix.shape)


def weigh_events(data: TrainingData, decay: float, recency: Unit) -> sp.csr_array:
    """Training events weighted by recency: float32 [U, N], ``decay ** age`` of a user's latest event with an item.

    The age is the number of steps between it and the latest training event of the user.
    """
    users, events = data.events()
    items, times = data.log.items[events], data.log.times[events]
    new = np.append(True, users[1:] != users[:-1])
    new |= np.append(True, times[1:] != times[:-1]) if recency == "times" else True
    steps = np.cumsum(new)
    last = np.zeros(data.log.users, steps.dtype)
    np.maximum.at(last, users, steps)
    _, from_behind = np.unique((users * data.items + items)[::-1], return_index=True)
    latest = len(users) - 1 - from_behind
    ages = (last[users] - steps)[latest]
    entries = np.power(np.float32(decay), ages.astype(np.float32)), (users[latest], items[latest])
    return sp.coo_array(entries, (data.log.users, data.items)).tocsr()


@dataclass(frozen=True)
class GramRows:
    """Rows of ``XᵀX + l2 I``, whose padding is ``l2 I``, for a device that asks for them."""

    matrix: sp.csr_array
    transposed: sp.csr_array
    l2: float
    size: int

    def __call__(self, index: tuple[slice, ...]) -> np.ndarray:
        """float32 [rows of ``index``, V]."""
        start, stop, _ = index[0].indices(self.size)
        rows = np.zeros((stop - start, self.size), np.float32)
        real = self.transposed[start:stop]
        for first in range(0, real.shape[0], 512):
            part = (real[first : first + 512] @ self.matrix).toarray()
            rows[first : first + len(part), : part.shape[1]] = part
        rows[np.arange(stop - start), np.arange(start, stop)] += self.l2
        return rows


def row_blocks(left: sp.csr_array, right: sp.csr_array) -> Iterator[tuple[int, int]]:
    """Ranges of rows of ``left.T @ right`` (float32 [S, N] each) that take about ``PAIRS`` multiplications each."""
    pairs = np.cumsum(left.T @ np.diff(right.indptr).astype(np.float64))
    edges = np.searchsorted(pairs, np.arange(PAIRS, pairs[-1], PAIRS)) + 1 if len(pairs) else []
    edges = np.unique([0, *edges, left.shape[1]])
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def keep_largest(matrix: sp.csr_array, width: int, seed: int) -> dict[str, np.ndarray]:
    """The ``width`` largest positive entries of each row, largest first; ties are broken by the seed, not by the id.

    Returns:
        "ids" int32 [M, K] and "weights" float32 [M, K]; -1 and 0 where a row has fewer.
    """
    shuffled = np.random.default_rng(seed).permutation(matrix.shape[1])
    data = matrix.data.astype(np.float32, copy=False)
    ids = np.full((matrix.shape[0], width), -1, np.int32)
    weights = np.zeros((matrix.shape[0], width), np.float32)
    for row, (start, stop) in enumerate(itertools.pairwise(matrix.indptr.tolist())):
        best = _largest(data[start:stop], shuffled, matrix.indices[start:stop], width)
        ids[row, : len(best)], weights[row, : len(best)] = matrix.indices[start:stop][best], data[start:stop][best]
    return {"ids": ids, "weights": weights}


def _largest(values: np.ndarray, shuffled: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
    """Places of the ``width`` largest of some numbers above 0, the largest first; equal ones by shuffled column."""
    least = np.partition(values, len(values) - width)[len(values) - width] if len(values) > width else 0
    places = np.flatnonzero((values >= least) & (values > 0))
    # One number an entry: positive floats sort as their bits do, and equal ones by the shuffled id, the least first.
    keys = values[places].view(np.int32).astype(np.int64) << 32 | (len(shuffled) - shuffled[columns[places]])
    return places[np.argsort(keys)[: -width - 1 : -1]]


def check_width(model: Model, name: str) -> None:
    """Raises ``UserError`` where the number of entries a row is below 1."""
    check_least(model, type(model).__name__, 1, name)


def check_training_decay(model: Model) -> None:
    """Raises ``UserError`` where ``training_decay`` is not in (0, 1]."""
    check_range(
        model, type(model).__name__, "a number above 0, at most 1", lambda value: 0 < value <= 1, "training_decay"
    )


def largest_by_block(
    blocks: Iterator[tuple[int, int]], rows: Callable[[int, int], sp.csr_array], width: int, seed: int
) -> dict[str, np.ndarray]:
    """``keep_largest`` of the ``rows`` of each block, one below another; each thread computes a block at a time."""

    def select(block: tuple[int, int]) -> dict[str, np.ndarray]:
        return keep_largest(rows(*block), width, seed)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        return _stack(list(pool.map(select, blocks)))


def _stack(blocks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Blocks of rows one below another."""
    return {name: np.concatenate([block[name] for block in blocks]) for name in ("ids", "weights")}
