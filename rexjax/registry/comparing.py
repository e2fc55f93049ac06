"""Two versions held against each other by the gate."""

from typing import Any, NamedTuple

from rexjax.errors import UserError
from rexjax.evaluation import gate
from rexjax.evaluation.gate import Decision, Margins, Side
from rexjax.registry.versions import Version


class Comparison(NamedTuple):
    """Which version was held against which, and what the gate says."""

    champion: str
    """Its id."""
    challenger: str
    """Its id."""
    decision: Decision
    """Of the gate."""

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"champion": self.champion, "challenger": self.challenger} | self.decision.as_dict()


def compare(champion: Version, challenger: Version, margins: Margins) -> Comparison:
    """Compares what two versions serve, by the metric that the champion was selected by.

    Raises:
        UserError: they answered different tests, or one has no results of each user.
    """
    if champion.metrics["test"] != challenger.metrics["test"]:
        raise UserError(
            f"versions {champion.id} and {challenger.id} answered different tests (other users, targets, seen items "
            "or candidates): evaluate both on the same days, and pass that comparison"
        )
    metric = champion.metrics["metric"]
    old, new = (_side(version, metric) for version in (champion, challenger))
    return Comparison(champion.id, challenger.id, gate.decide(old, new, challenger.segments(), margins))


def _side(version: Version, metric: str) -> Side:
    quality = version.metrics["quality"]
    calibration = version.metrics.get("calibration") or {}
    return Side(version.per_user(metric), version.metrics["cost"], calibration.get("ece"), quality.get("coverage@10"))
