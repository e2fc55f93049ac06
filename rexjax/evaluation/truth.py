"""Expected DCG of recommended lists under the known preference of a simulated source.

A log also holds the bias of what was shown. The known preference does not. The expected DCG of a list of k items is

    ``sum over ranks r from 1 to k: P(item at r is the next one) / log2(r + 1)``

where P is the source's preference among the items that the user has not seen. The oracle recommends the k most probable
items. The figures are a diagnostic: nothing is selected by them.
"""

from collections.abc import Callable, Mapping

import numpy as np

from rexjax.evaluation import ranking
from rexjax.evaluation.ranking import Requests

ORACLE = "oracle"
"""Name of the best possible lists."""
USERS = 10_000
"""Of a test whose lists are judged so: a preference takes N numbers a user."""
AT_ONCE = 1 << 22
"""Probabilities that are in memory at a time: 32 MB."""


def expected_dcg(
    lists: Mapping[str, np.ndarray], asked: Requests, preference: Callable[[np.ndarray], np.ndarray], items: int
) -> dict[str, np.ndarray]:
    """Expected DCG of each user's list, by model, and of the oracle's.

    Args:
        lists: int32 [U, k] by model, recommended items, the best first, padded with -1; one k for all.
        asked: U users, with what they have seen.
        preference: (rows int [B]) → float64 [B, N], the probability of each item as the next one.
        items: N.

    Returns:
        float64 [U] by model, and "oracle".
    """
    k = next(iter(lists.values())).shape[1]
    gains, users = 1 / np.log2(np.arange(2, k + 2)), len(asked.histories)
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*lists, ORACLE)}
    size = max(AT_ONCE // items, 1)
    for start in range(0, users, size):
        rows = np.arange(start, min(start + size, users))
        wanted = _of_unseen(preference(rows), ranking.padded(asked.seen_items, asked.seen_offsets, rows))
        for name, listed in lists.items():
            own = listed[rows]
            found[name].append(np.where(own >= 0, np.take_along_axis(wanted, own, 1), 0) @ gains)
        found[ORACLE].append(-np.sort(np.partition(-wanted, k - 1, 1)[:, :k], 1) @ gains)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _of_unseen(preference: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Probabilities among the items not in ``seen`` (int32 [B, S], padded with -1): [B, N], rows sum to 1."""
    row, column = np.nonzero(seen >= 0)
    left = preference.copy()
    left[row, seen[row, column]] = 0
    return left / np.maximum(left.sum(1, keepdims=True), 1e-300)
