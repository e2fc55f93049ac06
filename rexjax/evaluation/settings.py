"""The keys of stage evaluate."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from rexjax.errors import UserError, check_least, check_positive
from rexjax.evaluation.metrics import Metric, split_name, with_metrics
from rexjax.training.settings import SELECT

SHOWN = (SELECT, "hit_rate@10", "recall@10", "mrr@10", "coverage@10")
"""Metrics in tables and reports, besides the one that selects and a config's own."""
EXPOSED = ("coverage@10", "gini@10", "mean_popularity@10", "novelty@10", "distance@10", "serendipity@10")
"""Exposure metrics in a report."""


def spell(metric: str) -> str:
    """A metric as titles name it: ``NDCG@10``, ``hit rate@10``."""
    known = {"ndcg": "NDCG", "mrr": "MRR", "map": "MAP", "f1": "F1"}
    name, at, k = metric.partition("@")
    return known.get(name, name.replace("_", " ")) + at + k


@dataclass(frozen=True)
class Evaluate:
    """Stage evaluate: one evaluator for all models, quality and cost."""

    k: tuple[int, ...] = (1, 5, 10, 20)
    """Cut-offs of the metrics; 10 and that of --evaluate.select are always among them."""
    select: str = SELECT
    """The validation metric that models, epochs and weights are chosen by: a metric from ranks, @ and a cut-off."""
    metrics: Annotated[tuple[Metric, ...], tyro.conf.Suppress] = ()
    """Further metrics, defined in the config file: RankMetric and ListMetric of rexjax.config."""
    exclude_seen: bool = True
    """Items of the user's history are not recommended."""
    resamples: int = 2000
    """Bootstrap samples behind the interval of each model's own figure."""
    margin: float = 0.02
    """Equivalence margin of comparisons, as a share of the second model's metric. Set it before you look at results."""
    largest_weight: float = 0.0
    """Clips the weights 1 / propensity of corrected metrics; 0: none is clipped. It needs --data.columns.propensity."""
    latency_repeats: int = 200
    """Single-user requests timed for p50 and p99."""

    def __post_init__(self) -> None:
        check_least(self, "evaluate", 1, "resamples", "latency_repeats")
        check_positive(self, "evaluate", "margin")
        if not (self.largest_weight == 0 or 1 <= self.largest_weight < math.inf):
            raise UserError(
                f"evaluate has largest_weight={self.largest_weight:g}: set it to 1 or more, or to 0 for no clipping"
            )
        if any(isinstance(cutoff, int) and cutoff < 1 for cutoff in self.k):
            raise UserError(f"evaluate has k={self.k}: set each of k to 1 or more")
        split_name(self.select, self.known, "evaluate.select")

    @property
    def known(self) -> dict[str, Metric]:
        """All metrics that are computed, by name."""
        return with_metrics(self.metrics)

    @property
    def selection(self) -> tuple[Any, ...]:
        """All that decides what is selected: the name with its cut-off, and the metric if it is one of ``metrics``."""
        name = self.select.partition("@")[0]
        return self.select, *(metric for metric in self.metrics if metric.name == name)

    @property
    def shown(self) -> tuple[str, ...]:
        """Metrics in tables: the one that selects, the usual ones, then ``metrics`` at the cut-off 10."""
        return tuple(dict.fromkeys((self.select, *SHOWN, *(f"{metric.name}@10" for metric in self.metrics))))

    def select_cutoff(self, items: int | None = None) -> int:
        """The cut-off of ``select``.

        Args:
            items: size of the catalogue N; None: not known.

        Raises:
            UserError: it is beyond N.
        """
        return split_name(self.select, self.known, "evaluate.select", items)[1]
