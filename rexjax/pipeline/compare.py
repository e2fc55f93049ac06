"""Two finished runs, or two models of one, on the same test."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rexjax.artifacts import store, workdirs
from rexjax.artifacts.store import Artifact
from rexjax.errors import UserError
from rexjax.evaluation import comparison
from rexjax.evaluation.comparison import Compared
from rexjax.evaluation.settings import spell

FILE = workdirs.PER_USER
"""Beside the figures of stage evaluate: float32 [U], named MODEL/METRIC."""
Place = str | Path
"""A workdir, or a pattern of those of several seeds, such as "runs/shop-*"."""


class Side(NamedTuple):
    """One model, of one or several runs that differ by their seed."""

    name: str
    """Of the model, with the workdir."""
    values: np.ndarray
    """float32 [S, U], the metric per run and user."""
    test: str
    """Digest of what was asked."""


class Comparison(NamedTuple):
    """What comparing found."""

    a: str
    """Name of A."""
    b: str
    """Name of B."""
    metric: str
    """The metric, such as "ndcg@10"."""
    found: Compared
    """The figures."""

    @property
    def verdict(self) -> str:
        """In one sentence."""
        return comparison.verdict(self.found, self.a, self.b, spell(self.metric))


def compare(
    a: Place | Sequence[Place],
    b: Place | Sequence[Place],
    *,
    of: str = "",
    against: str = "",
    metric: str = "",
    margin: float = 0.02,
) -> Comparison:
    """Compares a model of A with one of B, user by user.

    Args:
        a: a workdir, a pattern of several, or several of them: runs of one config that differ by their seed.
        b: the same; it may be A again, where two models of a run are compared.
        of: the model of A by its name in the run's table; "": what is served.
        against: the model of B; "": as ``of``.
        metric: one of the report's; "": the one that models were selected by.
        margin: equivalence margin as a share of B's mean, chosen before looking at results.

    Raises:
        UserError: a workdir without figures or with those of another test, an unknown model or metric, one run twice on
            a side, a test of one user, or a margin that is not above 0.
    """
    runs = {workdir: store.read(workdir / "evaluate") for side in (a, b) for workdir in _workdirs(side)}
    first = next(iter(runs.values()))
    metric = metric or first.metrics["select"]
    one = _side(_workdirs(a), runs, of, metric)
    two = _side(_workdirs(b), runs, against or of, metric)
    if one.test != two.test:
        raise UserError(
            f"{one.name} and {two.name} answered different tests (other users, targets, seen items or candidates): "
            "compare runs of one log and one split"
        )
    if one.values.shape[1] < 2:
        raise UserError(f"{one.name} was tested on one user: compare runs whose test has two or more")
    return Comparison(one.name, two.name, metric, comparison.compare(one.values, two.values, margin))


def _workdirs(side: Place | Sequence[Place]) -> list[Path]:
    """The workdirs that a side names, patterns resolved, in their order.

    Raises:
        UserError: a pattern that fits none, or a workdir twice.
    """
    places = [side] if isinstance(side, str | Path) else list(side)
    found: list[Path] = []
    for place in map(str, places):
        several = sorted(glob.glob(place)) if glob.has_magic(place) else [place]
        if not several:
            raise UserError(f"no workdir matches {place}")
        found += map(workdirs.folder_of, several)
    if again := [str(workdir) for workdir in found if found.count(workdir) > 1]:
        raise UserError(f"{again[0]} is named twice on one side: name runs of different seeds")
    return found


def _side(places: list[Path], runs: dict[Path, Artifact], model: str, metric: str) -> Side:
    artifacts = [runs[place] for place in places]
    model = model or artifacts[0].metrics["served"]
    tests = {artifact.metrics["test"] for artifact in artifacts}
    if len(tests) > 1:
        raise UserError(f"{', '.join(map(str, places))} answered different tests: name runs that differ by their seed")
    seeds = [artifact.manifest["config"]["seed"] for artifact in artifacts]
    if len(set(seeds)) < len(seeds):
        raise UserError(
            f"{', '.join(map(str, places))} have the seeds {', '.join(map(str, seeds))}: name runs of different seeds"
        )
    values = [_values(place, artifact, model, metric) for place, artifact in zip(places, artifacts, strict=True)]
    where = str(places[0]) if len(places) == 1 else f"{len(places)} seeds of {places[0]}"
    return Side(f"{model} ({where})", np.stack(values), tests.pop())


def _values(place: Path, artifact: Artifact, model: str, metric: str) -> np.ndarray:
    with np.load(artifact.folder / FILE, allow_pickle=False) as stored:
        if f"{model}/{metric}" in stored:
            return stored[f"{model}/{metric}"]
        models, metrics = (sorted({name.split("/")[part] for name in stored}) for part in (0, 1))
    if model not in models:
        raise UserError(f"{place} has no model {model!r}: it has {', '.join(models)}")
    raise UserError(f"{place} has no {metric!r} of each user: it has {', '.join(metrics)}")


def stored(per_user: dict[str, dict[str, np.ndarray]], shown: Sequence[str]) -> dict[str, Any]:
    """What stage evaluate keeps: float32 [U] by MODEL/METRIC, of those metrics ``shown`` that users have."""
    return {
        f"{model}/{metric}": values[metric].astype(np.float32)
        for model, values in per_user.items()
        for metric in shown
        if metric in values
    }
