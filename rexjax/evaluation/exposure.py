"""Exposure metrics of recommended lists: concentration, popularity, novelty, diversity and serendipity.

Each takes lists int32 [U, k], the best first, padded with -1, and returns one number or one for each user.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rexjax.evaluation.metrics import ListContext

AT_ONCE = 1 << 24
"""Numbers of item vectors that are looked up at a time: 64 MB."""


def gini(lists: np.ndarray, context: "ListContext") -> float:
    """Gini index of item counts: 0 if all items appear equally often, (N - 1) / N if one item takes every place.

    ``2 sum_i i c_i / (N sum c) - (N + 1) / N`` of the counts c of appearances in ascending order, i from 1.
    """
    counts = np.sort(np.bincount(lists[lists >= 0], minlength=context.items)).astype(np.float64)
    total, items = counts.sum(), context.items
    if not total:
        return 0.0
    return float(2 * (np.arange(1, items + 1) * counts).sum() / (items * total) - (items + 1) / items)


def mean_popularity(lists: np.ndarray, context: "ListContext") -> np.ndarray:
    """Mean training interactions of the recommended items (ARP: Yin et al. 2012); float64 [U]."""
    assert context.popularity is not None
    return _mean(lists, context.popularity.astype(np.float64))


def novelty(lists: np.ndarray, context: "ListContext") -> np.ndarray:
    """Mean self-information of the recommended items, in bits (Zhou et al. 2010); float64 [U].

    ``-log2`` of an item's share of all training interactions; an item without any counts as if it had one.
    """
    assert context.popularity is not None
    counts = np.maximum(context.popularity, 1).astype(np.float64)
    return _mean(lists, -np.log2(counts / max(context.popularity.sum(), 1)))


def serendipity(lists: np.ndarray, context: "ListContext") -> np.ndarray:
    """Share of the list that is a target and that the most popular items would not have recommended; float64 [U].

    ``|unexpected and useful| / k`` (Ge, Delgado-Battenfeld & Jannach, RecSys 2010). Unexpected is what is not among the
    k most popular items that the user has not seen; equally popular items are in the order of their ids.
    """
    assert context.popularity is not None and context.asked is not None
    asked, users = context.asked, np.arange(len(lists))[:, None]
    rank = np.empty(context.items, np.int64)
    rank[np.argsort(-context.popularity, kind="stable")] = np.arange(context.items)
    last = _last_expected(rank, asked.seen_items, asked.seen_offsets, lists.shape[1])
    owners = np.repeat(np.arange(len(lists)), np.diff(asked.target_offsets))
    useful = np.isin(users * context.items + lists, owners * context.items + asked.target_items)
    return (useful & (lists >= 0) & (rank[lists] > last[:, None])).sum(1) / lists.shape[1]


def _last_expected(rank: np.ndarray, seen: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Popularity rank of each user's k-th most popular unseen item: int64 [U].

    The j-th seen item by popularity, at rank r_j, lies before it exactly if fewer than k unseen ones, r_j - j, do.
    """
    counts = np.diff(offsets)
    owners = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((rank[seen], owners))
    nth = np.arange(len(seen)) - np.repeat(offsets[:-1], counts)
    before = rank[seen][order] - nth < k
    return k - 1 + np.bincount(owners, before, len(counts)).astype(np.int64)


def distance(lists: np.ndarray, context: "ListContext") -> np.ndarray:
    """Mean cosine distance of two items of a list by their content (Ziegler et al. 2005); float64 [U].

    The space is that of the encoded items, not the model's own. A list of fewer than two items has 0.
    """
    assert context.vectors is not None
    size = max(AT_ONCE // max(context.vectors.shape[1] * lists.shape[1], 1), 1)
    parts = [_distance(lists[start : start + size], context.vectors) for start in range(0, len(lists), size)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _distance(lists: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The pairs' cosines sum to the squared length of the sum of the unit vectors, less the number of these."""
    rows, shown = vectors[lists], (lists >= 0).sum(1)
    lengths = np.where(lists >= 0, np.linalg.norm(rows, axis=2), 0)
    total = np.einsum("ukw,uk->uw", rows, 1 / np.where(lengths > 0, lengths, np.inf), optimize=True)
    pairs, products = shown * (shown - 1), (total**2).sum(1) - (lengths > 0).sum(1)
    return np.where(pairs > 0, 1 - products / np.maximum(pairs, 1), 0.0)


def _mean(lists: np.ndarray, values: np.ndarray) -> np.ndarray:
    shown = lists >= 0
    return np.where(shown, values[lists], 0).sum(1) / np.maximum(shown.sum(1), 1)
