"""Refreshes a finished run: one call after the log has grown."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rexjax.artifacts import workdirs
from rexjax.artifacts.classes import as_dict
from rexjax.artifacts.hashing import differences
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.errors import UserError
from rexjax.pipeline import compare, runner
from rexjax.pipeline.compare import Comparison
from rexjax.pipeline.refresh import stages
from rexjax.pipeline.refresh.champion import champion_of
from rexjax.pipeline.runner import Outcome
from rexjax.runtime.platform import own_flags

_SHARED = ("encode", "teacher", "student", "compress")
"""Parts of the config that a refresh has in common with its parent."""

_NOT_JOINED = ("user_features", "item_features", "context", "event", "weight")
"""Columns of the log beside user, item and time that models learn from."""


class Refreshed(NamedTuple):
    """What a refresh made."""

    config: Config
    """Of the new workdir."""
    outcomes: list[Outcome]
    """Stage by stage."""
    stages: dict[str, Stage]
    """By name."""
    comparison: Comparison
    """What is served now (``b``) and what the refresh would serve (``a``), on days that neither has seen."""


@own_flags()
def refresh(config: Config, parent: str | Path, *, days: float = 1.0, say: Callable[[str], None] = print) -> Refreshed:
    """Makes the run that follows ``parent`` into ``config.workdir``, and compares the two.

    The events after those of the parent are taken from the log. Dense ids stay, new ones follow. The teacher's members
    and the student go on from the parent's states. Killed, the same call goes on where it was.

    Args:
        config: the parent's, with another workdir; it names the log as it is now.
        parent: a finished workdir.
        days: the last days of the log are the test, and as many before them validate. Both have at most a third of the
            time since the parent's last event.
        say: told one line as each stage begins and ends.

    Raises:
        UserError: the workdir is the parent's, the parent is unfinished or of another config, or the log has nothing
            new.
        Preempted: the run was asked to stop; what it did is saved.
    """
    before = workdirs.folder_of(parent)
    _check_parent(config, before)
    known = stages.read_parent(before)
    instead = stages.stages(known, days)
    config = replace(config, baselines=(), data=replace(config.data, split="global_time"))
    made = runner.run(config, ("prepare",), update=True, say=say, instead=instead)
    champion = champion_of(config, before, made[0].artifact.metrics["items"])
    config, instead = replace(config, baselines=(champion,)), instead | {"forgetting": stages.forgetting(known)}
    outcomes = runner.run(config, (*runner.stages_of(config), "forgetting"), update=True, say=say, instead=instead)
    served = f"student_{config.compress.serve}"
    comparison = compare.compare(config.workdir, config.workdir, of=served, against="champion")
    return Refreshed(config, outcomes, runner.stages_of(config) | instead, comparison)


def _check_parent(config: Config, parent: Path) -> None:
    if parent.absolute() == workdirs.folder_of(config.workdir).absolute():
        raise UserError(f"the refresh of {parent} needs a workdir of its own: pass --workdir")
    old, now = workdirs.read_config(parent), as_dict(config)
    changed = differences({name: old.get(name) for name in _SHARED}, {name: now[name] for name in _SHARED})
    changed += differences({"length": old["data"]["length"]}, {"length": config.data.length})
    if changed:
        raise UserError(
            f"{parent} was made with another config ({'; '.join(changed[:3])}): refresh it with its own, or train anew "
            "with `rexjax run`"
        )
    columns = config.data.columns
    if declared := [name for name in _NOT_JOINED if getattr(columns, name)]:
        raise UserError(
            f"data.columns declares {', '.join(declared)}, which a refresh does not join with those of the events "
            "before: train anew with `rexjax run`"
        )
    if config.student.cross_fitted:
        raise UserError("--student.cross-fitted needs two teachers, which a refresh does not keep: train anew")
