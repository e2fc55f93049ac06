"""Sequential rules: which items follow which."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from rexjax.families.base import Run, TrainingData
from rexjax.families.counting import CountingModel, check_width, largest_by_block, row_blocks
from rexjax.models.item_weights import neighbour_scorer
from rexjax.models.scorer import Scorer


@dataclass(frozen=True)
class SequentialRules(CountingModel):
    """Sequential rules (Ludewig & Jannach 2018): how often item b follows item a, nearer events counting more.

    ``w_ab = sum over training histories, over a at step s and b at step s + d, d ≤ window: 1 / d``; the history's items
    give ``decay ** age`` times their rules, where the paper's model takes the latest item alone (``decay`` 0). With
    ``recency`` 'times' steps are distinct times: items of one basket do not follow one another.
    """

    decay: float = 0.5
    """Weight per step back in the history: 1 weighs all events alike, 0 keeps the latest step only."""
    window: int = 5
    """Steps after an item in which others follow it."""
    rules: int = 200
    """Strongest rules that are kept of each item, K."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_width(self, "window")
        check_width(self, "rules")

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Counts pairs of steps: {"ids": int32 [N, K], "weights": float32 [N, K]}, K at most N."""
        before, after = _pairs(data, self.window, self.recency == "times")
        transposed, width = before.T.tocsr(), min(self.rules, data.items)

        def rules(start: int, stop: int) -> sp.csr_array:
            return (transposed[start:stop] @ after).tocsr()

        return largest_by_block(row_blocks(before, after), rules, width, run.seed)

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """``score(b) = sum_a decay^age(a) w_ab`` over the items of the history."""
        return neighbour_scorer(state, self.decay, self.recency)


def _pairs(data: TrainingData, window: int, by_time: bool) -> tuple[sp.csr_array, sp.csr_array]:
    """A [S, N] and B [S, N] for the S training steps, such that the rules' weights are AᵀB.

    Row s of A holds the items of step s, and row s of B those of the steps after it, each over its distance.
    """
    users, events = data.events()
    new = np.append(True, users[1:] != users[:-1])
    times = data.log.times[events]
    new |= np.append(True, times[1:] != times[:-1]) if by_time else True
    steps, owners = np.cumsum(new) - 1, users[new]
    shape = len(owners), data.items
    ones = np.ones(len(events), np.float32)
    before = sp.coo_array((ones, (steps, data.log.items[events])), shape).tocsr()
    after = sp.csr_array(shape, dtype=np.float32)
    for distance in range(1, min(window, len(owners) - 1) + 1):
        same = owners[distance:] == owners[:-distance]
        shift = sp.diags_array(np.float32(same / distance), offsets=distance, shape=(len(owners),) * 2)
        after = after + shift.tocsr() @ before
    return before, after
