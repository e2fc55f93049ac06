"""Ranking metrics are data: a name and a function, of the targets' ranks or of the recommended lists.

Metrics from ranks are exact expectations over every order of tied items (``rexjax.evaluation.tie_groups``). With T_u
targets and hits = targets among the first k: precision = hits / k, recall = hits / T_u, f1 = 2 hits / (k + T_u),
hit_rate = [hits > 0], mrr = 1 / rank of the first hit, map = average precision over min(T_u, k), map_of_all = average
precision over T_u (trec_eval's), ndcg = binary gains with log2 discounts over the ideal of min(T_u, k) targets
(Järvelin & Kekäläinen, TOIS 2002). All lie between 0 and 1.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rexjax.artifacts.classes import Open
from rexjax.errors import UserError
from rexjax.evaluation import exposure
from rexjax.evaluation.tie_groups import TieGroups, Ties, group_ties

if TYPE_CHECKING:
    from rexjax.evaluation.ranking import Requests


@dataclass(frozen=True)
class ListContext:
    """What a metric from lists may know of the catalogue."""

    items: int
    """N."""
    popularity: np.ndarray | None = None
    """int64 [N], training interactions."""
    vectors: np.ndarray | None = None
    """float32 [N, W], of the items' content; None where there are none."""
    categories: np.ndarray | None = None
    """str [N], '' where an item has none; None where the log knows none at all."""
    asked: "Requests | None" = None
    """The requests that the lists answer, with U users; ``rexjax.evaluation.models.quality_of`` sets them."""


@dataclass(frozen=True)
class Metric(Open):
    """A named metric at a cut-off k: ``RankMetric`` or ``ListMetric``."""

    name: str
    """Before the @ in ``name@k``."""


@dataclass(frozen=True)
class RankMetric(Metric):
    """A metric from the ranks of the targets; models can be selected by it, so that more is better."""

    of_ranks: Callable[[TieGroups, int], np.ndarray]
    """(groups, k) → float64 [U], 0 or more, an expectation over the orders of ties."""


@dataclass(frozen=True)
class ListMetric(Metric):
    """A metric from the recommended lists, such as their diversity."""

    of_lists: Callable[[np.ndarray, ListContext], Any]
    """(lists int32 [U, k], padded with -1; context) → one number, or float [U], one for each user."""
    needs: tuple[str, ...] = ()
    """What it reads of the context; where one of them is None, the metric is left out."""


def coverage(lists: np.ndarray, items: int) -> float:
    """Share of the catalogue that appears in at least one list.

    Args:
      lists: int32 [U, K], recommended items, -1 for padding.
      items: N, size of the catalogue.

    Returns:
      Distinct recommended items / N.

    Raises:
      TypeError: ids that are no integers.
      ValueError: an id beyond the catalogue.

    >>> import numpy as np
    >>> coverage(np.asarray([[0, 1], [1, -1]]), items=4)
    0.5
    """
    distinct = np.unique(lists)
    if not np.issubdtype(distinct.dtype, np.integer):
        raise TypeError(f"lists has dtype {distinct.dtype}: item ids are integers")
    if distinct.size and not -1 <= distinct[0] <= distinct[-1] < items:
        raise ValueError(
            f"lists holds ids from {distinct[0]} to {distinct[-1]}: with {items} items they go from 0 to {items - 1}, "
            "and -1 is padding"
        )
    return float((distinct >= 0).sum() / items)


def _precision(groups: TieGroups, k: int) -> np.ndarray:
    return groups.hits(k) / k


def _recall(groups: TieGroups, k: int) -> np.ndarray:
    return groups.hits(k) / groups.targets


def _f1(groups: TieGroups, k: int) -> np.ndarray:
    return 2 * groups.hits(k) / (k + groups.targets)


def _hit_rate(groups: TieGroups, k: int) -> np.ndarray:
    return 1 - groups.no_hit(k)


def _ndcg(groups: TieGroups, k: int) -> np.ndarray:
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return groups.total_gain(discounts) / np.cumsum(discounts)[np.minimum(groups.targets, k) - 1]


def _mrr(groups: TieGroups, k: int) -> np.ndarray:
    return groups.first_hit(k)


def _map(groups: TieGroups, k: int) -> np.ndarray:
    """Expected sum over the hits among the first k of (hits so far) / rank, over min(T_u, k).

    Given that a target is the j-th of its group, (j - 1)(m - 1) / (g - 1) of the m - 1 others are expected before it;
    sum (j - 1) / (a + j) = count - (a + 1) sum 1 / (a + j) leaves only harmonic sums.
    """
    low, high = groups.window(k)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, k + 1))])
    inverse = harmonic[high] - harmonic[low]
    others = (groups.relevant - 1) / np.maximum(groups.size - 1, 1)
    total = (groups.before + 1) * inverse + others * ((high - low) - (low + 1) * inverse)
    precision_sum = np.where(groups.mask, total / groups.size, 0).sum(axis=1)
    return precision_sum / np.minimum(groups.targets, k)


def _map_of_all(groups: TieGroups, k: int) -> np.ndarray:
    return _map(groups, k) * np.minimum(groups.targets, k) / groups.targets


def _coverage(lists: np.ndarray, context: ListContext) -> float:
    return coverage(lists, context.items)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        RankMetric("precision", _precision),
        RankMetric("recall", _recall),
        RankMetric("f1", _f1),
        RankMetric("hit_rate", _hit_rate),
        RankMetric("ndcg", _ndcg),
        RankMetric("mrr", _mrr),
        RankMetric("map", _map),
        RankMetric("map_of_all", _map_of_all),
        ListMetric("coverage", _coverage),
        ListMetric("gini", exposure.gini),
        ListMetric("mean_popularity", exposure.mean_popularity, ("popularity",)),
        ListMetric("novelty", exposure.novelty, ("popularity",)),
        ListMetric("distance", exposure.distance, ("vectors",)),
        ListMetric("serendipity", exposure.serendipity, ("popularity", "asked")),
    )
}
"""What is always computed."""


def with_metrics(extra: Iterable[Metric]) -> dict[str, Metric]:
    """``METRICS`` and the ``extra`` ones, by name.

    Raises:
        UserError: two have one name, a name is empty or has an @, or a metric is of neither kind.

    >>> len(with_metrics([RankMetric("first", lambda groups, k: None)])) - len(METRICS)
    1
    """
    known = dict(METRICS)
    for metric in extra:
        if not isinstance(metric, RankMetric | ListMetric):
            raise UserError(f"the metric {metric!r} is neither a RankMetric nor a ListMetric: make it one of them")
        if not metric.name or "@" in metric.name or metric.name in known:
            raise UserError(
                f"a metric cannot be named {metric.name!r}: choose a name without @ that is none of {', '.join(known)}"
            )
        known[metric.name] = metric
    return known


def split_name(text: str, known: Mapping[str, Metric], key: str, items: int | None = None) -> tuple[str, int]:
    """The metric's name and the cut-off of ``name@k``, which selects models.

    Args:
        text: what was chosen.
        known: metrics by name.
        key: where it was chosen, for the error's sentence.
        items: size of the catalogue N; None: not known yet.

    Raises:
        UserError: there is no such metric, it is not one from ranks, or the cut-off is not in [1, N].

    >>> split_name("ndcg@10", METRICS, "evaluate.select")
    ('ndcg', 10)
    """
    name, _, cutoff = text.partition("@")
    ranks = [other for other, metric in known.items() if isinstance(metric, RankMetric)]
    k = int(cutoff) if cutoff.isdecimal() else 0
    if name in ranks and 1 <= k <= (items or k):
        return name, k
    bound = "a cut-off of 1 or more" if items is None else f"a cut-off from 1 to the catalogue's {items} items"
    raise UserError(f"{key} is {text!r}: name one of {', '.join(ranks)}, then @ and {bound}")


def check_cutoffs(ks: Sequence[int], items: int, key: str, known: Mapping[str, Metric] = METRICS) -> None:
    """Raises ``UserError`` unless all cut-offs lie in [1, N].

    >>> check_cutoffs([1, 10], items=100, key="evaluate.k")
    """
    wrong = [k for k in ks if not 1 <= k <= items]
    if wrong:
        raise UserError(
            f"{key} has the cut-off {wrong[0]}: the metrics ({', '.join(known)}) take cut-offs from 1 to the "
            f"catalogue's {items} items"
        )


def rank_metrics(known: Mapping[str, Metric]) -> tuple[RankMetric, ...]:
    """Those from ranks.

    >>> "ndcg" in [metric.name for metric in rank_metrics(METRICS)]
    True
    """
    return tuple(metric for metric in known.values() if isinstance(metric, RankMetric))


def list_metrics(known: Mapping[str, Metric]) -> tuple[ListMetric, ...]:
    """Those from lists.

    >>> "coverage" in [metric.name for metric in list_metrics(METRICS)]
    True
    """
    return tuple(metric for metric in known.values() if isinstance(metric, ListMetric))


def per_user(
    greater: np.ndarray,
    equal: np.ndarray,
    mask: np.ndarray,
    ks: Sequence[int],
    ties: Ties = "expected",
    metrics: Sequence[RankMetric] = rank_metrics(METRICS),
) -> dict[str, np.ndarray]:
    """Metrics from ranks at each cut-off for each user.

    Args:
      greater: [U, T], candidates that score strictly above the target; integers in any dtype.
      equal: [U, T], other candidates with the target's score; alike for the targets of one tie group.
      mask: bool [U, T], False at padding.
      ks: cut-offs, each at least 1.
      ties: ``expected`` over all orders of ties, or the ``best`` or ``worst`` order for the targets.
      metrics: which.

    Returns:
      ``{"ndcg@10": float64 [U], ...}``.

    Raises:
      ValueError: shapes that differ, a user without target, a cut-off below 1, or another way to break ties.
      UserError: a metric does not give one number for each user.

    >>> import numpy as np
    >>> greater, equal, mask = np.asarray([[0], [3]]), np.zeros((2, 1)), np.ones((2, 1), bool)
    >>> found = per_user(greater, equal, mask, ks=[2])  # ranks 1 and 4
    >>> found["ndcg@2"].tolist(), found["mrr@2"].tolist()
    ([1.0, 0.0], [1.0, 0.0])
    """
    if any(k < 1 for k in ks):
        raise ValueError(f"ks holds {min(ks)}: cutoffs start at 1")
    groups = group_ties(greater, equal, mask, ties)
    groups.no_hit(max(ks, default=1))  # kept for all cut-offs
    return {
        f"{metric.name}@{k}": _checked(metric.of_ranks(groups, k), (len(groups.mask),), metric)
        for k in ks
        for metric in metrics
    }


def of_lists(
    lists: np.ndarray,
    context: ListContext,
    ks: Sequence[int],
    metrics: Sequence[ListMetric] = list_metrics(METRICS),
) -> dict[str, np.ndarray]:
    """Metrics from lists at each cut-off.

    Args:
        lists: int32 [U, K], recommended items, the best first, padded with -1.
        context: what is known of the catalogue.
        ks: cut-offs, at most K.
        metrics: which.

    Returns:
        ``{"coverage@10": float64 [] or [U], ...}``.

    Raises:
        UserError: a metric gives neither one number nor one for each user.

    >>> import numpy as np
    >>> found = of_lists(np.asarray([[0, 1], [1, 2]]), ListContext(items=4), ks=[1, 2])
    >>> float(found["coverage@1"]), float(found["coverage@2"])
    (0.5, 0.75)
    """
    return {
        f"{metric.name}@{k}": _checked(metric.of_lists(lists[:, :k], context), (len(lists),), metric)
        for k in ks
        for metric in metrics
        if all(getattr(context, name) is not None for name in metric.needs)
    }


def _checked(value: Any, shape: tuple[int, ...], metric: Metric) -> np.ndarray:
    values = np.asarray(value, np.float64)
    shapes = [shape] if isinstance(metric, RankMetric) else [shape, ()]
    if values.shape not in shapes or not np.isfinite(values.sum()):
        wrong = "NaN or infinity" if values.shape in shapes else f"the shape {values.shape}"
        raise UserError(
            f"the metric {metric.name} returned {wrong}: let it return "
            f"{'one number' if len(shapes) == 1 else 'one number, or one'} for each of {shape[0]} users"
        )
    return values


def mean(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean over users of each metric: ``{name: [U]}`` to ``{name: float}``.

    >>> import numpy as np
    >>> mean({"ndcg@10": np.asarray([0.0, 1.0])})
    {'ndcg@10': 0.5}
    """
    return {name: float(np.mean(value)) for name, value in values.items()}
