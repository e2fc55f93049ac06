"""A refresh offered to a registry, whose gate decides on days that neither model has seen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rexjax.artifacts import store
from rexjax.artifacts.files import read_json
from rexjax.artifacts.workdirs import METRICS, PER_USER, SEGMENTS
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.evaluation import gate
from rexjax.evaluation.gate import Margins, Side
from rexjax.registry import Comparison, Registry, Version
from rexjax.registry.checks import key_of
from rexjax.registry.content import of as content_of

CHAMPION = "champion"
"""Name of what is served now in the tables of a refresh."""


def champion_workdir(registry: Registry) -> Path:
    """The workdir that the champion was added from.

    Raises:
        UserError: the registry has no champion, or its workdir is gone.
    """
    champion = registry.champion
    if champion is None:
        raise UserError(
            f"{registry.path} has no champion: add a finished workdir with `rexjax models add {registry.path} WORKDIR` "
            "and promote it"
        )
    workdir = Path(champion.lineage.get("workdir", ""))
    if not champion.lineage.get("workdir") or not workdir.is_dir():
        raise UserError(
            f"the champion {champion.id} was made in {workdir}, which is gone: train anew with `rexjax run`, or name "
            "the workdir's copy"
        )
    return workdir


def registry_of(path: Path, config: Config, parent: Path) -> Registry:
    """The registry, in which ``parent`` is the champion; a new one has it as its first version.

    Raises:
        UserError: the registry is of another config, or another version is its champion.
    """
    registry = Registry.create(path, config)
    if registry.champion is None:
        registry.promote(registry.add(parent).id)
    _check_champion(registry, parent)
    return registry


def offer(registry: Registry, workdir: str | Path, margins: Margins | None = None) -> Comparison:
    """Adds a refreshed workdir as a version, and promotes it if the gate lets it pass. A second call finds it done.

    Args:
        registry: what its parent is the champion of.
        workdir: a finished refresh.
        margins: of the gate; None: its own.

    Returns:
        What the gate says of the two on the refresh's own days.
    """
    champion, version = registry.champion, _version_of(registry, Path(workdir))
    if champion is None:
        raise UserError(f"{registry.path} has no champion: promote a version first")
    before = registry.version(str(champion.parent)) if version and version.id == champion.id else champion
    version = registry.add(workdir, parent=before.id)
    found = Comparison(before.id, version.id, decide(Path(workdir), before.metrics["cost"], margins))
    if found.decision.promote:
        registry.promote(version.id, found)
    return found


def decide(workdir: Path, cost: Mapping[str, float], margins: Margins | None = None) -> gate.Decision:
    """Holds what a refresh serves against the champion, on the refresh's test.

    Args:
        workdir: a finished refresh.
        cost: of the champion as it is served; in the refresh's table it stands as a wrapped model.
        margins: of the gate; None: its own.
    """
    folder = store.read(workdir / "evaluate").folder
    metrics, per_user = read_json(folder / METRICS), _arrays(folder / PER_USER)
    old, new = (_side(metrics, per_user, name) for name in (CHAMPION, metrics["served"]))
    maps = {metrics["models"][name].get("calibration", {}).get("map") for name in (CHAMPION, metrics["served"])}
    if len(maps) > 1:  # probabilities of two kinds are not compared
        old, new = old._replace(calibration=None), new._replace(calibration=None)
    return gate.decide(old._replace(cost=cost), new, _arrays(folder / SEGMENTS), margins)


def _side(metrics: dict[str, Any], per_user: dict[str, np.ndarray], name: str) -> Side:
    model = metrics["models"][name]
    calibration, coverage = model.get("calibration", {}).get("ece"), model["quality"]["test"].get("coverage@10")
    return Side(per_user[f"{name}/{metrics['select']}"], model["cost"], calibration, coverage)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored}


def _check_champion(registry: Registry, parent: Path) -> None:
    champion, version = registry.champion, _version_of(registry, parent)
    if champion is None or version is None or version.id != champion.id:
        known = f"is version {version.id}" if version else "is no version of it"
        raise UserError(
            f"the champion of {registry.path} is {champion.id if champion else 'missing'}, and {parent} {known}: "
            f"refresh the champion, with --registry alone"
        )


def _version_of(registry: Registry, workdir: Path) -> Version | None:
    """The version that was added from a workdir as it is now."""
    found = content_of(workdir)
    same = (one for one in registry.versions() if key_of(found, one.parent, {}) == one.key)
    return next(same, None)
