"""Lists before and after re-ranking, and the strength that validation chooses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rexjax.evaluation import exposure
from rexjax.evaluation.metrics import ListContext, coverage
from rexjax.evaluation.models import top_candidates
from rexjax.evaluation.ranking import Requests
from rexjax.models.scorer import Scorer
from rexjax.rerank.lists import Catalogue, rerank_lists
from rexjax.rerank.settings import STRENGTHS, Rerank
from rexjax.rerank.shares import divergence


class Asked(NamedTuple):
    """A model's candidates for the users of one part."""

    requests: Requests
    scores: np.ndarray
    """float32 [U, C]."""
    ids: np.ndarray
    """int32 [U, C], -1 where there is no candidate."""


def candidates_of(scorer: Scorer, requests: Requests, count: int) -> Asked:
    """The ``count`` best items of each user, all items at most."""
    return Asked(requests, *top_candidates(scorer, requests, min(count, scorer.items)))


def lists_of(rerank: Rerank, known: Catalogue, asked: Asked, k: int, strength: float) -> np.ndarray:
    """Lists int32 [U, k] at a strength, padded with -1."""
    places = rerank_lists(rerank, known, asked.requests.histories, asked.scores, asked.ids, k, strength)
    return np.where(places >= 0, np.take_along_axis(asked.ids, np.maximum(places, 0), 1), -1)


def ndcg(lists: np.ndarray, requests: Requests) -> np.ndarray:
    """NDCG of lists int32 [U, k] in their order, binary gains: float64 [U].

    >>> from rexjax.evaluation.ranking import ragged
    >>> none, targets = ragged([[]]), ragged([[7]])
    >>> ndcg(np.asarray([[7, 3]]), Requests(np.zeros((1, 1), np.int32), *none, *targets)).tolist()
    [1.0]
    """
    discounts = 1 / np.log2(np.arange(2, lists.shape[1] + 2))
    counts = np.diff(requests.target_offsets)
    users = np.repeat(np.arange(len(lists)), counts)
    hits = lists[users] == requests.target_items[:, None]
    gains = np.bincount(users, (hits * discounts).sum(1), minlength=len(lists))
    return gains / np.cumsum(discounts)[np.minimum(counts, lists.shape[1]) - 1]


def measures(lists: np.ndarray, requests: Requests, known: Catalogue, context: ListContext) -> dict[str, np.ndarray]:
    """What lists are worth: each a number, or float64 [U].

    ``ndcg``; ``coverage`` and ``gini``; where the items have content, ``distance``, the mean cosine distance of two
    items of a list; where they have categories, ``divergence``, Steck's KL of the user's own shares and the list's.
    """
    found = {
        "ndcg": ndcg(lists, requests),
        "coverage": np.asarray(coverage(lists, context.items)),
        "gini": np.asarray(exposure.gini(lists, context)),
    }
    if known.vectors.shape[1]:
        found["distance"] = exposure.distance(lists, replace(context, vectors=known.vectors))
    if known.shares.shape[1]:
        own, listed = (mean_shares(known.shares, ids) for ids in (requests.histories, lists))
        found["divergence"] = np.asarray(divergence(own, listed), np.float64)
    return found


def mean_shares(shares: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Shares float32 [U, G] of the categories among the items of lists or histories; they sum to 1, or to 0.

    >>> mean_shares(np.eye(2, dtype=np.float32), np.asarray([[0, 1, 1, -1]])).round(2).tolist()
    [[0.33000001311302185, 0.6700000166893005]]
    """
    total = np.zeros((len(ids), shares.shape[1]), np.float32)
    for column in ids.T:  # never [U, L, G] at once
        total += np.where(column[:, None] >= 0, shares[column], 0)
    return total / np.maximum(total.sum(1, keepdims=True), 1e-9)


def means(found: dict[str, np.ndarray]) -> dict[str, float]:
    """Of each measure, over users."""
    return {name: float(np.mean(value)) for name, value in found.items()}


def frontier(
    rerank: Rerank,
    known: Catalogue,
    asked: Asked,
    context: ListContext,
    k: int,
    strengths: Sequence[float] = STRENGTHS,
) -> list[dict[str, float]]:
    """The measures' means at each strength: ``{"strength", "ndcg", "coverage", …}``."""
    return [
        {"strength": strength}
        | means(measures(lists_of(rerank, known, asked, k, strength), asked.requests, known, context))
        for strength in strengths
    ]


def choose_strength(rows: Sequence[dict[str, float]], keep: float) -> float:
    """The largest strength up to which every one keeps the share ``keep`` of the NDCG without re-ranking.

    >>> choose_strength([{"strength": s, "ndcg": n} for s, n in ((0, 1.0), (0.1, 0.995), (0.2, 0.9))], 0.99)
    0.1
    """
    least, chosen = keep * rows[0]["ndcg"], rows[0]["strength"]
    for row in rows:
        if row["ndcg"] < least:
            break
        chosen = row["strength"]
    return chosen


def before_and_after(
    rerank: Rerank,
    known: Catalogue,
    scorer: Scorer,
    requests: dict[str, Requests],
    context: ListContext,
    k: int,
) -> dict[str, Any]:
    """The frontier on validation, the strength that is chosen on it, and the test lists without and with it.

    Args:
        rerank: the method; a strength that it names is taken as it is.
        known: the items.
        scorer: the model.
        requests: by part, "valid" and "test".
        context: what metrics from lists know of the catalogue.
        k: length of the lists.
    """
    asked = {part: candidates_of(scorer, of_part, rerank.candidates) for part, of_part in requests.items()}
    rows = frontier(rerank, known, asked["valid"], context, k)
    strength = choose_strength(rows, rerank.keep) if rerank.strength is None else rerank.strength
    lists = {name: lists_of(rerank, known, asked["test"], k, s) for name, s in (("before", 0.0), ("after", strength))}
    test = {name: means(measures(found, requests["test"], known, context)) for name, found in lists.items()}
    return {"strength": strength, "valid": rows, "test": test}
