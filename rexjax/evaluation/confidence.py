"""Calibration of scores: how often the first recommended item is right, against the probability that the model gives.

A score becomes a probability by one of two maps. "softmax": the scores are logits of a softmax over the catalogue, as
the model was trained (``Scorer.scale``), and seen items are left out. "isotonic": they are not, and a monotone
function of the first item's score is fitted to the hits of validation (Zadrozny & Elkan, KDD 2002).

The expected calibration error is that of Guo et al. (ICML 2017) with bins of equal counts (Nguyen & O'Connor, EMNLP
2015), because probabilities of one item among many lie close together.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.evaluation import ranking
from rexjax.evaluation.ranking import Requests
from rexjax.models.calibration import fit_isotonic
from rexjax.models.scorer import Scorer, ask

BINS = 15
USERS = 4096
"""Users of each part, at most, drawn by the seed."""
_AT_ONCE = 64
SCORES_AT_ONCE = 1 << 21
"""Of one chunk of the catalogue: 8 MB."""


class First(NamedTuple):
    """The first recommended item of U users."""

    scores: np.ndarray
    """float64 [U]."""
    probabilities: np.ndarray
    """float64 [U], of a softmax over the unseen items; 1 where the scores are no logits."""
    hits: np.ndarray
    """float64 [U], 1 where the item is a target."""


def calibration_of(scorer: Scorer, asked: Mapping[str, Requests]) -> dict[str, Any]:
    """Calibration of a model on the test.

    Args:
        scorer: any model.
        asked: requests of "valid" and "test".

    Returns:
        ``map`` ("softmax", "isotonic" or "none"), ``ece``, mean ``confidence``, ``hit_rate@1`` and ``users``. "none",
        with neither ``ece`` nor ``confidence``: a first score is infinite, or validation has one user.
    """
    test = first_items(scorer, asked["test"])
    found: dict[str, Any] = {"hit_rate@1": float(test.hits.mean()), "users": len(test.hits)}
    if scorer.scale is not None and np.isfinite(test.scores).all():
        return {"map": "softmax"} | _judged(test.probabilities, test.hits) | found
    valid = first_items(scorer, asked["valid"])
    if len(valid.hits) < 2 or not np.isfinite(np.concatenate([valid.scores, test.scores])).all():
        return {"map": "none"} | found
    return (
        {"map": "isotonic"}
        | _judged(np.asarray(fit_isotonic(valid.scores, valid.hits)(test.scores)), test.hits)
        | found
    )


def _judged(probabilities: np.ndarray, hits: np.ndarray) -> dict[str, float]:
    return {"ece": expected_calibration_error(probabilities, hits), "confidence": float(probabilities.mean())}


def expected_calibration_error(probabilities: np.ndarray, hits: np.ndarray, bins: int = BINS) -> float:
    """``sum over bins b: U_b / U |mean hits - mean probability|``, bins of equal counts by rising probability.

    Args:
        probabilities: float [U], in [0, 1].
        hits: float [U], 0 or 1.
        bins: at most so many; one for each user where there are fewer.

    >>> expected_calibration_error(np.asarray([0.5, 0.5, 1.0, 1.0]), np.asarray([1, 0, 1, 0]), bins=2)
    0.25
    """
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(np.asarray(hits, np.float64)[order] - probabilities[order], min(bins, len(order)))
    return float(sum(abs(part.sum()) for part in parts) / len(order))


def first_items(scorer: Scorer, asked: Requests) -> First:
    """Score, probability and hit of each user's first item among those not seen."""
    users, parts = len(asked.histories), []
    for start in range(0, users, _AT_ONCE):
        rows = np.minimum(np.arange(start, start + _AT_ONCE), users - 1)
        seen, targets = (
            ranking.padded(getattr(asked, f"{name}_items"), getattr(asked, f"{name}_offsets"), rows)
            for name in ("seen", "target")
        )
        times = None if asked.times is None else asked.times[rows]
        query = ask(scorer, asked.histories[rows], times, ranking.features_of(asked, rows))
        best, total, ids = jax.device_get(_first(scorer, query, seen))
        probabilities = np.exp(best.astype(np.float64) - total) if scorer.scale else np.ones(len(rows))
        best = best.astype(np.float64)
        hits = (ids[:, None] == targets).any(1) & np.isfinite(best)
        parts.append((best, probabilities, hits.astype(np.float64)))
    return First(*(np.concatenate(arrays)[:users] for arrays in zip(*parts, strict=True)))


@jax.jit
def _first(scorer: Scorer, query: Any, seen: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The largest logit [B], the log of the sum of exponentials [B] and the item of the former int32 [B]."""
    encoded = scorer.encode(scorer.state, query)
    users, size = len(seen), min(scorer.items, max(SCORES_AT_ONCE // len(seen), 1))
    of_chunk = partial(_of_chunk, scorer, encoded, seen, size)
    best, total, ids = jax.lax.map(of_chunk, jnp.arange(0, scorer.items, size))  # [chunks, B]
    at = (best.argmax(0), jnp.arange(users))
    return best[at], jax.nn.logsumexp(total, axis=0), ids[at]


def _of_chunk(scorer: Scorer, encoded: Any, seen: jax.Array, size: int, start: jax.Array) -> Any:
    ids = start + jnp.arange(size)
    scores = scorer.score(scorer.state, encoded, jnp.minimum(ids, scorer.items - 1)).astype(jnp.float32)
    scores = jnp.where(ids < scorer.items, scores * (scorer.scale or 1.0), -jnp.inf)
    at = jnp.where((seen >= start) & (seen < start + size), seen - start, size)
    scores = scores.at[jnp.arange(len(seen))[:, None], at].set(-jnp.inf, mode="drop")
    best = scores.argmax(1)
    return scores.max(1), jax.nn.logsumexp(scores, axis=1), (start + best).astype(jnp.int32)
