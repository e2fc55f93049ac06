"""Random walks on the graph of users and items."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from rexjax.errors import check_least
from rexjax.families.base import Run, TrainingData
from rexjax.families.counting import CountingModel, binary, check_width, count_events, largest_by_block, row_blocks
from rexjax.models.item_weights import neighbour_scorer
from rexjax.models.scorer import Scorer


@dataclass(frozen=True)
class RP3beta(CountingModel):
    """Random walks of length three, from a user over an item and another user to an item (Paudel et al. 2017).

    With ``d_u`` the number of items of user u and ``d_i`` the number of users of item i, a step is taken with the
    probabilities ``p_iu = 1 / d_i`` and ``p_ui = 1 / d_u`` to the power of ``alpha``, and the item that is reached
    is divided by its popularity:

        ``w_ij = sum over users u of both items: (p_iu p_uj)^alpha / d_j^beta``,  ``w_ii = 0``

    The first step, from the user to the items of the history, is the sum over the history. With ``alpha`` 1 and
    ``beta`` 0 the scores are the probabilities of such walks, P³.
    """

    alpha: float = 1.0
    """Power of the transition probabilities; below 1 it flattens them."""
    beta: float = 0.5
    """Power of an item's popularity that its score is divided by."""
    neighbours: int = 100
    """Largest weights that are kept of each item, K."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_width(self, "neighbours")
        check_least(self, "RP3beta", 0, "alpha", "beta")

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Sums over common users, block by block.

        Returns:
            {"ids": int32 [N, K], "weights": float32 [N, K]}, K at most N - 1; -1 and 0 where a row has fewer.
        """
        matrix = binary(count_events(data))
        of_users, of_items = _powers(matrix.sum(1), self.alpha), _powers(matrix.sum(0), self.alpha)
        popularity = _powers(matrix.sum(0), self.beta)
        steps = sp.csr_array(sp.diags_array(of_users) @ matrix)
        transposed, width = matrix.T.tocsr(), min(self.neighbours, max(data.items - 1, 1))

        def walks(start: int, stop: int) -> sp.csr_array:
            found = (transposed[start:stop] @ steps).tocsr()
            rows = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(found.indptr))
            found.data *= of_items[rows] * popularity[found.indices]
            found.data[found.indices == rows] = 0  # an item is no neighbour of itself
            return found

        return largest_by_block(row_blocks(matrix, matrix), walks, width, run.seed)

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """``score(j) = sum_i decay^age(i) w_ij`` over the items of the history."""
        return neighbour_scorer(state, self.decay, self.recency)


def _powers(degrees: np.ndarray, power: float) -> np.ndarray:
    """float32 ``degrees ** -power``; nodes without edges have weight 0."""
    known = degrees > 0
    return np.where(known, np.power(np.where(known, degrees, 1).astype(np.float64), -power), 0).astype(np.float32)
