"""The stages in order: which depends on which, what is skipped, what goes on where it was cut off."""

import contextlib
import dataclasses
import operator
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts import hashing, lock, store
from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.runtime import preemption, processes


class Stage(NamedTuple):
    """One stage: a function in ``rexjax.pipeline.stages.NAME`` and what its result depends on."""

    name: str
    needs: tuple[str, ...]
    """Stages whose artifacts it reads."""
    keys: tuple[str, ...]
    """Parts of the config it depends on."""
    what: str
    """For --help."""
    together: bool = False
    """Runs on all processes at once; other stages run on the first one while the others wait."""


STAGES = (
    Stage("prepare", (), ("seed", "data"), "read, clean, split and pack the log"),
    Stage("encode", ("prepare",), ("encode",), "item text to vectors, by a pretrained language model"),
    Stage(
        "teacher",
        ("prepare", "encode"),
        ("seed", "data.length", "data.targets", "teacher", "evaluate.exclude_seen"),
        "train the large sequential transformer",
        together=True,
    ),
    Stage(
        "distill",
        ("prepare", "encode", "teacher"),
        ("seed", "data.length", "data.targets", "teacher", "student", "evaluate.exclude_seen"),
        "train the small student on the teacher's lists, and its control without",
        together=True,
    ),
    Stage(
        "compress",
        ("prepare", "distill"),
        ("seed", "data.length", "data.targets", "student", "compress", "evaluate.exclude_seen"),
        "fewer dimensions, fewer bits, trained to bear it",
        together=True,
    ),
    Stage(
        "index",
        ("prepare", "compress"),
        ("data.length", "student", "compress.served"),
        "all that serving needs, in one folder",
    ),
    Stage(
        "evaluate",
        ("prepare", "encode", "teacher", "distill", "compress"),
        ("seed", "data.length", "teacher", "student", "compress.points", "evaluate"),
        "one evaluator for all models: quality, cost, report",
    ),
)
BY_NAME = {stage.name: stage for stage in STAGES}


class Outcome(NamedTuple):
    """What happened to a stage."""

    stage: str
    artifact: Artifact
    skipped: bool


def run(config: Config, stages: tuple[str, ...], *, update: bool, say: Callable[[str], None]) -> list[Outcome]:
    """Runs ``stages`` in order; each is skipped if its inputs and its config are those of its finished artifact.

    Several processes call this alike, with one workdir on a disk that all of them see; the first one writes.

    Args:
        config: the experiment.
        stages: names, in the order of ``STAGES``; what they need and is not among them must have finished before.
        update: a workdir of another config may be brought up to date.
        say: told one line as each stage begins and ends.

    Raises:
        UserError: an earlier stage has not finished or is damaged, the workdir belongs to another config, or another
            run works in it.
        Preempted: the run was asked to stop; what it did is saved.
    """
    workdir = Path(config.workdir)
    outcomes = []
    with lock.of(workdir), preemption.held():
        with processes.in_turn("workdir"):
            store.claim_workdir(workdir, _identity(config), update=update)
        for name in stages:
            preemption.stop_if_asked()
            inputs = {need: store.read(workdir / need) for need in BY_NAME[name].needs}
            outcomes.append(_run_stage(BY_NAME[name], config, workdir / name, inputs, say))
    return outcomes


def _run_stage(
    stage: Stage, config: Config, folder: Path, inputs: dict[str, Artifact], say: Callable[[str], None]
) -> Outcome:
    part = {key: _at(config, key) for key in stage.keys}
    key = store.stage_key(stage.name, part, inputs, _external(stage.name, config))
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
    metrics = import_module(f"rexjax.pipeline.stages.{stage.name}").run(config, work, inputs)
    seconds = time.monotonic() - started
    if not processes.first():
        return None
    content = metrics.pop("content", {})
    finished = store.finish(work, key, content=content, seconds=seconds, config=part, metrics=metrics)
    store.publish(folder)
    return finished._replace(folder=folder)


def _at(config: Config, key: str) -> Any:
    """The part of the config under a dotted key, as plain JSON values."""
    value = operator.attrgetter(key)(config)
    return hashing.as_dict(value) if dataclasses.is_dataclass(value) else value


def _identity(config: Config) -> dict[str, Any]:
    """What a workdir belongs to: where it lies, on which devices it was made, how often it was saved and who is told do
    not count."""
    how = "workdir", "mesh", "save_every", "wandb"
    return {key: value for key, value in hashing.as_dict(config).items() if key not in how}


def _external(stage: str, config: Config) -> dict[str, str]:
    """Hashes of files outside the workdir that a stage reads."""
    if stage == "prepare":
        return {path.name: hashing.file_hash(path) for path in config.data.source.external_files(config.data)}
    if stage == "encode":
        found = {}
        if config.encode.vectors:
            found["vectors"] = _vectors_hash(Path(config.encode.vectors))
        elif config.data.text:
            from rexjax.encoders.loading import default_model_folder

            folder = Path(config.encode.model) if config.encode.model else default_model_folder()
            if not folder.is_dir():
                raise UserError(
                    f"no folder {folder}: --encode.model names a folder with config.json and model.safetensors"
                )
            found["model"] = hashing.file_hash(folder)
        more = {f"more {name}": _vectors_hash(path) for name, path in config.encode.more_files().items()}
        return found | more
    return {}


def _vectors_hash(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"no file {path}: --encode.vectors and --encode.more name .npy files with a row per item")
    return hashing.file_hash(path)
