"""``rexjax compare``."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rexjax.cli import terminal


@dataclass(frozen=True)
class Compare:
    """Compares a model of A with one of B: better, worse, equal, or inconclusive."""

    a: Annotated[str, Positional, arg(metavar="A")]
    """A finished workdir, or a pattern such as 'runs/shop-*' of runs that differ by their seed."""
    b: Annotated[str, Positional, arg(metavar="B")]
    """As A. Name A again to compare two models of one run."""
    of: str = ""
    """The model of A, by its name in the run's table. '': the served one."""
    against: str = ""
    """The model of B. '': as --of."""
    metric: str = ""
    """A metric of the report, such as recall@10. '': evaluate.select."""
    margin: float = 0.02
    """Equivalence margin as a share of B's mean. Set it before you look at results."""


def compare(request: Compare) -> None:
    """``rexjax compare``."""
    from rexjax.pipeline.compare import compare as compare_runs

    asked = {name: getattr(request, name) for name in ("of", "against", "metric", "margin")}
    compared = compare_runs(request.a, request.b, **asked)
    found = compared.found
    terminal.out.print(compared.verdict, soft_wrap=True)
    seeds = "over users alone; name runs of several seeds to include their spread"
    if found.seeds_counted:
        seeds = f"over users and training seeds ({found.seeds[0]} and {found.seeds[1]})"
    terminal.out.print(
        f"p {found.p:.2g}; 90 % interval {found.equal_low:+.4f} to {found.equal_high:+.4f}; detectable "
        f"difference {found.detectable:.4f}; intervals are {seeds}.",
        soft_wrap=True,
        highlight=False,
    )
