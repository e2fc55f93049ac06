"""The stages in order: which depends on which, what is skipped, what goes on where it was cut off."""

import contextlib
import operator
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts import classes, lock, store
from rexjax.artifacts.classes import keep_files
from rexjax.artifacts.store import Artifact
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
            raise UserError(f"config.stages has a stage {stage.name!r}, and there is one already: name it otherwise")
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
def run(config: Config, stages: tuple[str, ...], *, update: bool, say: Callable[[str], None]) -> list[Outcome]:
    """Runs ``stages`` in order; each is skipped if its inputs and its config are those of its finished artifact.

    Several processes call this alike, with one workdir on a disk that all of them see; the first one writes.

    Args:
        config: the experiment; paths and NumPy numbers in it are taken as text and numbers.
        stages: names, in order; what they need and is not among them must have finished before.
        update: a workdir of another config may be brought up to date.
        say: told one line as each stage begins and ends.

    Raises:
        UserError: an earlier stage has not finished or is damaged, the workdir belongs to another config, or another
            run works in it.
        Preempted: the run was asked to stop; what it did is saved.
    """
    config = normal(config)
    check_platform()
    check_memory(config)
    workdir, known = Path(config.workdir), stages_of(config)
    outcomes = []
    with lock.of(workdir), preemption.held():
        with processes.in_turn("workdir"):
            store.claim_workdir(workdir, _identity(config), update=update)
            if processes.first():
                keep_files(config, workdir / store.CONFIG_FILES)
        for name in stages:
            preemption.stop_if_asked()
            inputs = {need: store.read(workdir / need) for need in known[name].needs}
            outcomes.append(_run_stage(known[name], config, workdir / name, inputs, say))
    return outcomes


def _run_stage(
    stage: Stage, config: Config, folder: Path, inputs: dict[str, Artifact], say: Callable[[str], None]
) -> Outcome:
    part = {key: _at(config, key) for key in stage.keys}
    key = store.stage_key(stage.name, part, inputs, stage.external(config))
    with processes.in_turn(f"look for {stage.name}"):
        store.publish(folder)  # of a run that was killed just before it
        finished = _finished(folder, key, say)
    if finished:
        say(f"{stage.name}: unchanged, skipped ({finished.manifest['seconds']:.1f} s when it ran)")
        return Outcome(stage.name, finished, True)
    say(f"{stage.name}: {stage.what} …")
    if processes.first():
        store.begin(store.unfinished(folder), key)
    made = None
    if stage.together:
        processes.wait(f"begin {stage.name}")
        made = _make(stage, config, folder, inputs, key, part)
        processes.wait(f"finish {stage.name}")
    else:
        with processes.in_turn(f"run {stage.name}"), contextlib.suppress(preemption.Preempted):
            if processes.first():
                with preemption.at_once():
                    made = _make(stage, config, folder, inputs, key, part)
        preemption.stop_if_asked()
    made = made or _finished(folder, key, say)
    if not made:
        raise UserError(f"stage '{stage.name}' failed on the first process, which says why")
    say(f"{stage.name}: done in {made.manifest['seconds']:.1f} s")
    return Outcome(stage.name, made, False)


def _finished(folder: Path, key: str, say: Callable[[str], None]) -> Artifact | None:
    """The artifact in ``folder`` if it is whole and its key is ``key``."""
    if not (folder / "manifest.json").exists():
        return None
    try:
        found = store.read(folder)
    except UserError as error:
        say(f"{folder.name}: made again, since {error}")
        return None
    return found if found.manifest["key"] == key else None


def _make(
    stage: Stage, config: Config, folder: Path, inputs: dict[str, Artifact], key: str, part: dict[str, Any]
) -> Artifact | None:
    """Runs the stage; the first process publishes and returns what came of it."""
    work = store.unfinished(folder)
    started = time.monotonic()
    metrics = stage.run(config, work, inputs)
    seconds = time.monotonic() - started
    if not processes.first():
        return None
    content = metrics.pop("content", {})
    finished = store.finish(work, key, content=content, seconds=seconds, config=part, metrics=metrics)
    store.publish(folder)
    return finished._replace(folder=folder)


def _at(config: Config, key: str) -> Any:
    """The part of the config under a dotted key, as plain JSON values."""
    return classes.as_dict(operator.attrgetter(key)(config))


def _identity(config: Config) -> dict[str, Any]:
    """What a workdir belongs to: where it lies, on which devices it was made, how often it was saved and who is told do
    not count."""
    how = "workdir", "mesh", "save_every", "wandb"
    return {key: value for key, value in classes.as_dict(config).items() if key not in how}
