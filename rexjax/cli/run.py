"""``rexjax run`` and the commands of single stages."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rexjax.cli import terminal
from rexjax.cli.places import ConfigFile
from rexjax.errors import UserError

if TYPE_CHECKING:
    from rexjax.config.schema import Config
    from rexjax.config.stage import Stage
    from rexjax.pipeline.runner import Outcome


@dataclass(frozen=True)
class Run:
    """All stages in order; finished ones are skipped."""

    config: ConfigFile
    """A Python file with get_config(), such as configs/quickstart.py."""
    update: bool = False
    """Brings a workdir of another config up to date."""
    profile: bool = False
    """Writes a trace of a few steps of each training into WORKDIR/profile, and prints where their time went."""


@dataclass(frozen=True)
class Encode(Run):
    """Item text to vectors."""

    worker: bool = False
    """Encodes shards beside other workers, on any host that sees the workdir. `rexjax encode` then finishes."""


@dataclass(frozen=True)
class Compress(Run):
    """Smaller variants of the student."""

    budget: str = ""
    """Finds the best student within a budget, on validation: bytes_per_item=32, flops=…, p50_ms=… or quality>=0.98."""


def run_all(request: Run, config: "Config") -> None:
    """``rexjax run``."""
    from rexjax.pipeline import runner

    _run("run", tuple(runner.stages_of(config)), request, config)


def run_stage(name: str, request: Run, config: "Config") -> None:
    """``rexjax STAGE``, of a stage that every config has or that this one adds."""
    from rexjax.pipeline import runner

    known = runner.stages_of(config)
    if name not in known:
        raise UserError(f"{request.config} has no stage {name!r}: it has {', '.join(known)}")
    _run(name, (name,), request, config)


def encode(request: Encode, config: "Config") -> None:
    """``rexjax encode``, as one of many workers or as the stage."""
    if not request.worker:
        return run_stage("encode", request, config)
    from rexjax.pipeline import encode_worker

    encode_worker.run(config, terminal.say)


def compress(request: Compress, config: "Config") -> None:
    """``rexjax compress``, as the stage or as a search within a budget."""
    if not request.budget:
        return run_stage("compress", request, config)
    from rexjax.cli.search import search_budget

    search_budget(request.budget, config)


def _run(command: str, names: tuple[str, ...], request: Run, config: "Config") -> None:
    from rexjax.artifacts import classes, store, workdirs
    from rexjax.pipeline import runner
    from rexjax.runtime import processes
    from rexjax.runtime.compile_cache import keep_compiled_programs
    from rexjax.training import profile

    keep_compiled_programs()
    alike = {"command": command, "update": request.update, "config": classes.as_dict(config)} | store.packages()
    folder = workdirs.folder_of(config.workdir) / "profile" if request.profile else None
    with processes.together(alike), profile.into(folder) as traces:
        say = terminal.say if processes.first() else say_nothing
        outcomes = runner.run(config, names, update=request.update, say=say)
        if processes.first():
            for outcome in outcomes:
                print_outcome(outcome, runner.stages_of(config)[outcome.stage], config)
            _print_profiles(traces, wanted=request.profile)


def say_nothing(line: str) -> None:
    """Of all processes but the first."""


def print_outcome(outcome: "Outcome", stage: "Stage", config: "Config") -> None:
    """What a stage shows; figures and report also stand at the top of the workdir."""
    for part in stage.show(outcome.artifact.metrics, config):
        terminal.out.print(part, highlight=False)
    if outcome.stage == "evaluate":
        _publish(outcome.artifact, config)


def _publish(artifact: Any, config: "Config") -> None:
    """Copies metrics and report to the top of the workdir."""
    from rexjax.artifacts import files, hashing, workdirs

    workdir = workdirs.folder_of(config.workdir)
    files.write_json(workdir / workdirs.METRICS, {"config_hash": hashing.digest(config)} | artifact.metrics)
    shutil.copy(artifact.folder / "report.html", workdir / workdirs.REPORT)
    terminal.say(f"report: {workdir / workdirs.REPORT}    figures: {workdir / workdirs.METRICS}")


def _print_profiles(traces: list[Path], *, wanted: bool) -> None:
    for path in traces:
        terminal.say_whole(f"{path.read_text()}the same as a trace for XProf: {path.with_suffix('')}")
    if wanted and not traces:
        terminal.say("no profile: nothing was trained for longer than one stretch of steps")
