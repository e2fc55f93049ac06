"""The keys of stage evaluate."""

from dataclasses import dataclass

from rexjax.errors import check_least


@dataclass(frozen=True)
class Evaluate:
    """Stage evaluate: one evaluator for all models, quality and cost."""

    k: tuple[int, ...] = (1, 5, 10, 20)
    """Cut-offs of the metrics; 10 is always among them."""
    select: str = "ndcg@10"
    """The validation metric that models, epochs and weights are chosen by."""
    exclude_seen: bool = True
    """Items of the user's history are not recommended."""
    resamples: int = 2000
    """Bootstrap samples behind every interval."""
    latency_repeats: int = 200
    """Single-user requests timed for p50 and p99."""

    def __post_init__(self) -> None:
        check_least(self, "evaluate", 1, "resamples", "latency_repeats")
