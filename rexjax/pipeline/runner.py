"""The stages in order: which depends on which, what is skipped, what goes on where it was cut off."""

import contextlib
import operator
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rexjax.artifacts import classes, lock, store, versions, workdirs
from rexjax.artifacts.classes import keep_files
from rexjax.artifacts.store import Artifact
from rexjax.artifacts.versions import Owner
from rexjax.config.checks import check_memory
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.config.values import normal
from rexjax.errors import UserError
from rexjax.pipeline.stages import baselines, compress, distill, encode, evaluate, index, prepare, teacher
from rexjax.runtime import preemption, processes
from rexjax.runtime.platform import check_platform, own_flags

STAGES = (
    prepare.STAGE,
    encode.STAGE,
    baselines.STAGE,
    teacher.STAGE,
    distill.STAGE,
    compress.STAGE,
    index.STAGE,
    evaluate.STAGE,
)
BY_NAME = {stage.name: stage for stage in STAGES}
"""The stages that every config has."""


def stages_of(config: Config) -> dict[str, Stage]:
    """All stages of a config by name, each after those that it needs, and otherwise in the order they are named.

    Raises:
        UserError: two have one name, one needs another that there is not, or some need each other.
    """
    waiting, ordered = [*STAGES, *config.stages], dict[str, Stage]()
    names = [stage.name for stage in waiting]
    for stage in config.stages:
        if names.count(stage.name) > 1:
            raise UserError(f"config.stages has a stage {stage.name!r}, and there is one already: choose another name")
        if missing := set(stage.needs) - set(names):
            raise UserError(
                f"stage {stage.name!r} needs {', '.join(sorted(missing))}, which is no stage of this config"
            )
    while waiting:
        ready = next((stage for stage in waiting if all(need in ordered for need in stage.needs)), None)
        if ready is None:
            raise UserError(f"stages {', '.join(stage.name for stage in waiting)} need each other: none can be first")
        waiting.remove(ready)
        ordered[ready.name] = ready
    return ordered


class Outcome(NamedTuple):
    """What happened to a stage."""

    stage: str
    artifact: Artifact
    skipped: bool


@own_flags()
def run(
    config: Config,
    stages: tuple[str, ...],
    *,
    update: bool,
    say: Callable[[str], None],
    instead: Mapping[str, Stage] = MappingProxyType({}),
) -> list[Outcome]:
    """Runs ``stages`` in order; each is skipped if its inputs and its config are those of its finished artifact.

    Several processes call this alike, with one workdir on a disk that all of them see; the first one writes.

    Args:
        config: the experiment; paths and NumPy numbers in it are taken as text and numbers.
        stages: names, in order; what they need and is not among them must have finished before.
        update: a workdir of another config may be brought up to date.
        say: told one line as each stage begins and ends.
        instead: stages that take the places of those of the same name.

    Raises:
        UserError: an earlier stage has not finished or is damaged, the workdir belongs to another config, or another
            run works in it.
        Preempted: the run was asked to stop; what it did is saved.
    """
    config = normal(config)
    workdir, known = workdirs.folder_of(config.workdir), stages_of(config) | dict(instead)
    check_platform()
    check_memory(config)
    check(config, update=update)
    outcomes = []
    with lock.of(workdir) as owner, preemption.held():
        with processes.in_turn("claim workdir"):
            if processes.first():
                workdirs.claim(workdir, known, _identity(config), update=update)
                keep_files(config, workdir / store.CONFIG_FILES)
        for name in stages:
            preemption.stop_if_asked()
            inputs = {need: store.read(workdir / need) for need in known[name].needs}
            outcomes.append(_run_stage(known[name], config, workdir / name, inputs, owner, say))
    return outcomes


def check(config: Config, *, update: bool) -> None:
    """Refuses a config whose workdir cannot be used; makes nothing.

    Raises:
        UserError: see ``workdirs.check``.
    """
    with processes.in_turn("check workdir"):
        if processes.first():
            workdir = workdirs.folder_of(config.workdir)
            workdirs.check(workdir, stages_of(config), _identity(config), update=update)


def _run_stage(
    stage: Stage,
    config: Config,
    place: Path,
    inputs: dict[str, Artifact],
    owner: Owner,
    say: Callable[[str], None],
) -> Outcome:
    part = {key: _at(config, key) for key in stage.keys}
    made_with = store.packages(("rexjax", *stage.packages))
    external = stage.external(config)
    key = store.stage_key(stage.name, part, inputs, external, made_with)
    with processes.in_turn(f"look for {stage.name}"):
        finished = _finished(place, key, say)
    if finished:
        say(f"{stage.name}: unchanged, skipped ({finished.manifest['seconds']:.1f} s when it ran)")
        return Outcome(stage.name, finished, True)
    say(f"{stage.name}: {stage.what} …")
    work = versions.begin(place, key, owner) if processes.first() else None
    about = {"config": part, "external": external}
    made = None
    if stage.together:
        processes.wait(f"begin {stage.name}")
        work = work or versions.unfinished(place)
        made = _make(stage, config, work, inputs, key, about, owner)
        processes.wait(f"finish {stage.name}")
    else:
        with processes.in_turn(f"run {stage.name}"), contextlib.suppress(preemption.Preempted):
            if processes.first():
                with preemption.at_once():
                    made = _make(stage, config, work, inputs, key, about, owner)
        preemption.stop_if_asked()
    made = made or _finished(place, key, say)
    if not made:
        raise UserError(f"stage '{stage.name}' failed on the first process, which says why")
    say(f"{stage.name}: done in {made.manifest['seconds']:.1f} s")
    return Outcome(stage.name, made, False)


def _finished(place: Path, key: str, say: Callable[[str], None]) -> Artifact | None:
    """The artifact in ``place`` if it is whole and its key is ``key``."""
    if not versions.versions(place):
        return None
    try:
        artifact = store.read(place)
    except UserError as error:
        if versions.unfinished(place) is None:
            say(f"{place.name}: made again, since {error}")
        return None
    return artifact if artifact.manifest["key"] == key else None


def _make(
    stage: Stage,
    config: Config,
    work: Path,
    inputs: dict[str, Artifact],
    key: str,
    about: dict[str, Any],
    owner: Owner,
) -> Artifact | None:
    """Runs the stage; the first process publishes and returns what came of it."""
    started = time.monotonic()
    metrics = stage.run(config, work, inputs)
    seconds = time.monotonic() - started
    if not processes.first():
        return None
    content = metrics.pop("content", {})
    return store.finish(work, key, content=content, seconds=seconds, metrics=metrics, owner=owner, **about)


def _at(config: Config, key: str) -> Any:
    """The part of the config under a dotted key, as plain JSON values."""
    return classes.as_dict(operator.attrgetter(key)(config))


def _identity(config: Config) -> dict[str, Any]:
    """What a workdir belongs to: where it lies, on which devices it was made, how often it was saved and who is told do
    not count."""
    how = "workdir", "mesh", "save_every", "wandb"
    return {key: value for key, value in classes.as_dict(config).items() if key not in how}
