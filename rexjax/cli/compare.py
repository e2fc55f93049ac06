"""``rexjax compare``."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rexjax.cli import terminal


@dataclass(frozen=True)
class Compare:
    """Says whether a model of A is better than one of B, equal, or not to be told apart."""

    a: Annotated[str, Positional, arg(metavar="A")]
    """A workdir with figures, or a pattern of several, such as 'runs/shop-*': runs that differ by their seed."""
    b: Annotated[str, Positional, arg(metavar="B")]
    """The same; A again where two models of a run are compared."""
    of: str = ""
    """The model of A, by its name in the run's table. '': what is served."""
    against: str = ""
    """The model of B. '': as --of."""
    metric: str = ""
    """One of the report's, such as recall@10. '': the one that models were selected by."""
    margin: float = 0.02
    """Share of B's mean up to which a difference counts as none. Set it before you look."""


def compare(request: Compare) -> None:
    """``rexjax compare``."""
    from rexjax.pipeline.compare import compare as compare_runs

    asked = {name: getattr(request, name) for name in ("of", "against", "metric", "margin")}
    compared = compare_runs(request.a, request.b, **asked)
    found = compared.found
    terminal.out.print(compared.verdict, soft_wrap=True)
    seeds = "over users alone: name several seeds of a side, to have their spread in it"
    if found.seeds_counted:
        seeds = f"over users and training seeds ({found.seeds[0]} and {found.seeds[1]})"
    terminal.out.print(
        f"p {found.p:.2g}; 90 % interval {found.equal_low:+.4f} to {found.equal_high:+.4f}; a difference of "
        f"{found.detectable:.4f} would have been seen in four of five tries; intervals are {seeds}.",
        soft_wrap=True,
        highlight=False,
    )
