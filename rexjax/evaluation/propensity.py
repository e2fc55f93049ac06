"""Metrics of a test, corrected for what was shown: self-normalised inverse propensity scores.

An event at a position that is taken with probability p stands for 1 / p events of a log without position bias (Joachims
et al., WSDM 2017). The corrected metric is the weighted mean over the target events e of the test

    ``sum_e w_e m_e / sum_e w_e``,  ``w_e = min(1 / p_e, largest)``

(SNIPS: Swaminathan & Joachims, NeurIPS 2015), where m_e is the metric of the request whose only target is e. Clipping
lowers the variance and adds bias (Ionides 2008).
"""

from typing import Any, NamedTuple

import numpy as np

from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.evaluation import ranking, requests
from rexjax.evaluation.metrics import METRICS, rank_metrics
from rexjax.evaluation.ranking import Requests, Result
from rexjax.models.scorer import Scorer

K = 10
CORRECTED = ("ndcg", "hit_rate")
"""Metrics that are corrected, at the cut-off K."""
_Z = 1.96


class Corrected(NamedTuple):
    """A weighted mean, with its 95 % interval over users."""

    mean: float
    low: float
    high: float


class Correction(NamedTuple):
    """What the log says of the targets of a test."""

    asked: Requests
    """One request for each of F targets."""
    owners: np.ndarray
    """int64 [F], the user of each target, from 0."""
    weights: np.ndarray
    """float64 [F], 1 / propensity, clipped."""
    whole: bool
    """Whether each user has one target, so that metrics of users are those of targets."""
    facts: dict[str, float]
    """``targets``, ``largest_weight``, ``clipped`` (share of the targets), ``effective_sample_size``."""


def weights(propensities: np.ndarray, largest: float = 0.0) -> np.ndarray:
    """Inverse propensities, float64 [F], at most ``largest``; 0: as they are.

    Args:
        propensities: [F], in (0, 1].
        largest: the clipping weight.

    Raises:
        UserError: there are none, or one is not in (0, 1].

    >>> weights(np.asarray([0.5, 0.01]), largest=20).tolist()
    [2.0, 20.0]
    """
    values = np.asarray(propensities, np.float64)
    if not values.size:
        raise UserError(
            "the log has no propensities, so its metrics cannot be corrected for what was shown: name their column "
            "with --data.columns.propensity"
        )
    if wrong := int((~((values > 0) & (values <= 1))).sum()):
        raise UserError(f"{wrong} of {values.size} propensities are not above 0 and at most 1: mend them")
    return np.minimum(1 / values, largest) if largest else 1 / values


def snips(values: np.ndarray, weights: np.ndarray, owners: np.ndarray) -> Corrected:
    """The weighted mean of ``values``; its interval is that of a ratio of two sums over users, linearised.

    Args:
        values: float [F], a metric per target.
        weights: float64 [F], above 0.
        owners: int64 [F], the user of each target, from 0.

    >>> found = snips(np.asarray([1.0, 0.0]), np.asarray([1.0, 3.0]), np.asarray([0, 1]))
    >>> found.mean
    0.25
    """
    total = weights.sum()
    mean = float(weights @ values / total)
    of_users = np.bincount(owners, weights * (values - mean))
    users = len(of_users)
    spread = float(np.sqrt((of_users**2).sum() * users / max(users - 1, 1)) / total)
    return Corrected(mean, max(mean - _Z * spread, 0.0), mean + _Z * spread)


def effective_sample_size(weights: np.ndarray) -> float:
    """Equally weighted targets that would have the same variance (Kish 1965): ``(sum w)^2 / sum w^2``.

    >>> effective_sample_size(np.ones(7))
    7.0
    """
    return float(weights.sum() ** 2 / (weights**2).sum())


def correction(log: Histories, asked: Requests, items: int, largest: float = 0.0) -> Correction:
    """Weights of the targets of the test.

    Args:
        log: what ``asked`` was built from, with propensities.
        asked: the requests of the test, with the users' numbers among their features.
        items: N.
        largest: the clipping weight; 0: none.

    Raises:
        UserError: the log has no propensities.
    """
    events = requests.target_events(log, asked, "test", items) if len(log.propensities) else slice(None)
    raw = weights(log.propensities[events])
    clipped = weights(1 / raw, largest)
    counts = np.diff(asked.target_offsets)
    facts = {
        "targets": len(raw),
        "largest_weight": float(clipped.max()),
        "clipped": float((raw > clipped).mean()),
        "effective_sample_size": effective_sample_size(clipped),
    }
    owners = np.repeat(np.arange(len(counts)), counts)
    return Correction(requests.by_target(asked), owners, clipped, bool((counts == 1).all()), facts)


def correct(
    name: str, scorer: Scorer, known: Correction, result: Result | None = None, *, traced: bool = True
) -> dict[str, dict[str, Any]]:
    """NDCG and hit rate of a model at 10, corrected, beside the same mean with equal weights.

    Args:
        name: of the model, for the progress bar.
        scorer: the model.
        known: see ``correction``.
        result: the model's metrics on the same test at the cut-off 10. They save a ranking if each user has one target.
        traced: see ``rexjax.evaluation.ranking.evaluate``.

    Returns:
        ``{"ndcg@10": {"log", "mean", "low", "high"}, "hit_rate@10": …}``.
    """
    names = [f"{metric}@{K}" for metric in CORRECTED]
    if result is None or not known.whole or not set(names) <= result.per_user.keys():
        measures = [metric for metric in rank_metrics(METRICS) if metric.name in CORRECTED]
        described = f"ranking targets, {name}"
        result = ranking.evaluate(scorer, known.asked, ks=(K,), measures=measures, traced=traced, description=described)
    values = {metric: result.per_user[metric] for metric in names}
    return {
        metric: {"log": float(found.mean())} | snips(found, known.weights, known.owners)._asdict()
        for metric, found in values.items()
    }
