"""The command line: flags → config → pipeline; the only place that prints."""

import argparse
import contextlib
import dataclasses
import shutil
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rexjax.artifacts import classes, hashing, store
from rexjax.cli import exits
from rexjax.config import schema as configs
from rexjax.config import values
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.evaluation.settings import spell
from rexjax.pipeline import encode_worker, runner
from rexjax.runtime import preemption, processes

out = Console()
err = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``rexjax``; exits 0 when done, 1 when a plan does not fit, 2 on a user's mistake, 75 when it was
    asked to stop and has saved."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _dispatch(arguments)
    except BaseException as error:
        if known := exits.of(error):
            style = "red" * (known[0] == 2)
            err.print(f"rexjax: {known[1]}", style=style, markup=False, highlight=False, soft_wrap=True)
            processes.leave(known[0])
        if processes.count() == 1 or not isinstance(error, Exception):
            raise
        traceback.print_exc()
        processes.leave(1)


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        out.print(_overview(), markup=False, highlight=False)
        return
    command, *rest = arguments
    actions = {name: partial(_run, name) for name in ("run", *runner.BY_NAME)} | {"items": _items}
    actions |= {"sweep": _sweep, "recommend": _recommend, "plan": _plan, "export": _export, "serve": _serve}
    if command not in actions:
        raise UserError(f"no command {command!r}: it is one of {', '.join(actions)}; see rexjax --help")
    action = actions[command]
    if command == "compress" and any(argument.startswith("--budget") for argument in rest):
        action = _budget
    if command == "encode" and "--worker" in rest:
        action = _encode_beside_others
    with contextlib.nullcontext() if command == "serve" else preemption.watched():  # a server drains by itself
        action(rest)


def _encode_beside_others(arguments: list[str]) -> None:
    encode_worker.run(parse_config("encode", [argument for argument in arguments if argument != "--worker"]), _say)


def _overview() -> str:
    stages = "\n".join(f"  rexjax {stage.name:<10} CONFIG   {stage.what}" for stage in runner.STAGES)
    return (
        "rexjax: recommendation made cheap. A large model is run once, a small one answers.\n\n"
        f"  rexjax run        CONFIG   all stages in order; finished ones are skipped\n{stages}\n"
        "  rexjax encode     CONFIG   --worker: encodes beside other workers, on any host that sees the workdir\n"
        '  rexjax compress   CONFIG   --budget "bytes_per_item=32": the best student it allows, chosen on validation\n'
        "  rexjax sweep      CONFIG   --trials 20: searches hyper-parameters (--of teacher), on validation alone\n"
        '  rexjax recommend  WORKDIR  --history "item, item" --k 10\n'
        "  rexjax items      WORKDIR  --put FILE --remove FILE: changes the catalogue, without training\n"
        "  rexjax export     WORKDIR FOLDER   what a server needs, in a folder that stands alone\n"
        "  rexjax serve      FOLDER   --port 8000: answers over HTTP from an exported folder\n"
        "  rexjax plan       CONFIG   --topology v5p:8x8x8: memory, time and cost on TPUs that are not here\n\n"
        "CONFIG is a Python file with get_config(), such as configs/quickstart.py. Any key can be overridden:\n"
        "  rexjax run configs/quickstart.py --student.width 16 --workdir runs/narrow\n"
        "`rexjax run --help` explains every key."
    )


def _run(command: str, arguments: list[str]) -> None:
    from rexjax.runtime.compile_cache import keep_compiled_programs
    from rexjax.training import profile

    update, traced = "--update" in arguments, "--profile" in arguments
    config = parse_config(command, [argument for argument in arguments if argument not in ("--update", "--profile")])
    values.check(config)
    keep_compiled_programs()
    names = tuple(runner.stages_of(config)) if command == "run" else (command,)
    alike = {"command": command, "update": update, "config": classes.as_dict(config)} | store.versions()
    folder = Path(config.workdir) / "profile" if traced else None
    with processes.together(alike), profile.into(folder) as made:
        outcomes = runner.run(config, names, update=update, say=_say if processes.first() else lambda line: None)
        for outcome in outcomes if processes.first() else ():
            _print_outcome(outcome, config)
        for path in made:
            line = f"{path.read_text()}the same as a trace for XProf: {path.with_suffix('')}"
            out.print(line, markup=False, highlight=False, soft_wrap=True)
        if traced and processes.first() and not made:
            _say("no profile: nothing was trained for longer than one stretch of steps")


def _print_outcome(outcome: runner.Outcome, config: Config) -> None:
    stage = runner.stages_of(config)[outcome.stage]
    for part in stage.show(outcome.artifact.metrics, config):
        out.print(part, highlight=False)
    if outcome.stage == "evaluate":
        _publish(Path(config.workdir), outcome.artifact, config)


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False)


def parse_config(command: str, arguments: list[str]) -> Config:
    """The config that ``rexjax COMMAND CONFIG --key value …`` means.

    Args:
        command: such as ``run``; it stands in the help.
        arguments: the path of the config file, then its keys as flags.

    Raises:
        UserError: no config is named.
        SystemExit: ``--help`` was asked for (0), or a flag is unknown or has a bad value (2).
    """
    prog = f"rexjax {command} CONFIG"
    note = f"{_what(command)} CONFIG is a Python file with get_config()."
    if not arguments or arguments[0].startswith("-"):
        if not {"-h", "--help"} & set(arguments):
            raise UserError(f"name a config: {prog.replace('CONFIG', 'configs/quickstart.py')}")
        return tyro.cli(Config, args=["--help"], prog=prog, description=note, default=Config(workdir="runs/NAME"))
    return tyro.cli(Config, args=arguments[1:], prog=prog, description=note, default=configs.load(arguments[0]))


def _what(command: str) -> str:
    if command == "plan":
        return (
            "Compiles the config's programs for TPUs that are not here (exit code 1: they do not fit). Besides the "
            "config's keys: --topology v5p:8x8x8, --slices 2, --items N (the catalogue, else that of the workdir), "
            "--json FILE."
        )
    if command == "sweep":
        return (
            "Searches hyper-parameters on validation alone; the same command goes on where it was. Besides the "
            "config's keys: --trials N; --of teacher (small ones first), student (how it is taught; what it costs "
            "stays) or control (the same without teacher); --update brings a workdir of another config up to date."
        )
    if command == "compress":
        return (
            f'{runner.BY_NAME[command].what.capitalize()}. Or --budget "bytes_per_item=32" (flops=…, p50_ms=…, '
            "quality>=0.98): the best student that meets it, chosen on validation. --update brings a workdir of "
            "another config up to date; --profile leaves traces in WORKDIR/profile."
        )
    what = "All stages in order." if command == "run" else runner.BY_NAME[command].what.capitalize() + "."
    return (
        f"{what} --update brings a workdir of another config up to date; --profile leaves a trace of a few steps of "
        "each training in WORKDIR/profile, and says where their time went."
    )


def _plan(arguments: list[str]) -> None:
    from rexjax.planning import plan, report, topology

    parser = argparse.ArgumentParser(prog="rexjax plan CONFIG", add_help=False, allow_abbrev=False)
    parser.add_argument("--topology")
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--items", type=int)
    parser.add_argument("--json", type=Path)
    flags, rest = parser.parse_known_args(arguments)
    config = parse_config("plan", rest)
    values.check(config)
    if flags.topology is None:
        raise UserError("a plan needs a topology: pass --topology, such as --topology v5p:2x2x1")
    made = plan.make(config, topology.parse(flags.topology, flags.slices), flags.items)
    for table in report.tables(made):
        out.print(table)
    for line in report.lines(made):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    if flags.json:
        try:
            store.write_json(flags.json, made)
        except OSError as error:
            raise UserError(f"--json {flags.json} cannot be written ({error.strerror}): the plan is above") from error
    if not made["fits"]:
        sys.exit(1)


def _sweep(arguments: list[str]) -> None:
    from rexjax.pipeline import sweep
    from rexjax.runtime.compile_cache import keep_compiled_programs

    parser = argparse.ArgumentParser(prog="rexjax sweep CONFIG", add_help=False, allow_abbrev=False)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--of", choices=list(sweep.MODELS), default="teacher")
    parser.add_argument("--update", action="store_true")
    flags, rest = parser.parse_known_args(arguments)
    config = parse_config("sweep", rest)
    values.check(config)
    keep_compiled_programs()
    trials = sweep.run(config, flags.trials, _say, flags.of, update=flags.update)
    table = Table(title=f"{flags.of.capitalize()}s, by validation {spell(config.evaluate.select)}")
    for name in ("trial", "change", spell(config.evaluate.select), "seconds", "kept"):
        table.add_column(name, justify="left" if name == "change" else "right")
    for number, trial in enumerate(trials, 1):
        cells = f"{trial.ndcg:.4f}", f"{trial.seconds:.0f}", "*" if trial.kept else ""
        table.add_row(str(number), trial.change, *cells)
    out.print(table)
    folder = f"{config.workdir}/sweep/{flags.of}"
    out.print(f"best {flags.of}: {folder}/best.json    picture: {folder}/sweep.png")


def _budget(arguments: list[str]) -> None:
    from rexjax.pipeline import budget as budgets
    from rexjax.runtime.compile_cache import keep_compiled_programs

    parser = argparse.ArgumentParser(prog="rexjax compress CONFIG", add_help=False, allow_abbrev=False)
    parser.add_argument("--budget", required=True)
    flags, rest = parser.parse_known_args(arguments)
    budget = budgets.read(flags.budget)
    config = parse_config("compress", rest)
    values.check(config)
    keep_compiled_programs()
    chosen, tried = budgets.run(config, budget, _say)
    table = Table(title=f"Students for {flags.budget}, on validation")
    metric = spell(config.evaluate.select)
    for name in ("variant", metric, "of the teacher's", "bytes/item", "FLOPs", "p50 ms", "chosen"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for one in tried:
        cost = f"{one.bytes_per_item:g}", f"{one.flops:,.0f}", f"{one.p50_ms:.2f}"
        table.add_row(one.name, f"{one.ndcg:.4f}", f"{one.quality:.1%}", *cost, "*" if one == chosen else "")
    out.print(table)
    kept = budgets.keep(config, chosen.name, _say)
    names = " ".join(kept.compress.variants)
    out.print(f"the index holds it; to keep it so: --compress.variants {names} --compress.serve {chosen.name}")


def _publish(workdir: Path, artifact: store.Artifact, config: Config) -> None:
    """Copies metrics and report to the top of the workdir."""
    store.write_json(workdir / "metrics.json", {"config_hash": hashing.digest(config)} | artifact.metrics)
    shutil.copy(artifact.folder / "report.html", workdir / "report.html")
    out.print(f"report: {workdir / 'report.html'}    figures: {workdir / 'metrics.json'}", highlight=False)


@dataclasses.dataclass(frozen=True)
class Recommend:
    """Prints the items that a finished workdir recommends after a history."""

    workdir: tyro.conf.Positional[str]
    """Where `rexjax run` left its artifacts."""
    history: str = ""
    """Item ids or titles, oldest first, parted by ';' or, if there is none, by ','; '' asks for the fallback."""
    k: int = 10
    """How many."""


def _recommend(arguments: list[str]) -> None:
    from rexjax.retrieval import index

    request = tyro.cli(Recommend, args=arguments, prog="rexjax recommend")
    artifact = store.read(Path(request.workdir) / "index")
    found = index.read(artifact.folder)
    separator = ";" if ";" in request.history else ","
    names = [name.strip() for name in request.history.split(separator) if name.strip()]
    history, unknown = index.find_items(found, names)
    if unknown:
        err.print(f"rexjax: not in the catalogue, left out: {', '.join(unknown)}", markup=False)
    rows = index.recommend(found, history, request.k)
    table = Table(
        title=escape("After " + ", ".join(found.titles[i] for i in history))
        if history
        else "Most popular (empty history)"
    )
    for name in ("", "item", "title", "score"):
        table.add_column(name, justify="right" if name in ("", "score") else "left")
    for rank, row in enumerate(rows, 1):
        table.add_row(str(rank), row.item_id, row.title, f"{row.score:.3f}")
    out.print(table, markup=False)


def _items(arguments: list[str]) -> None:
    from rexjax.pipeline import items
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    items.run(tyro.cli(items.Change, args=arguments, prog="rexjax items"), _say)


@dataclasses.dataclass(frozen=True)
class Export:
    """Writes what a server needs into a folder that stands alone: programs, weights, ids, hashes of all of it."""

    workdir: tyro.conf.Positional[Path]
    """Where `rexjax run` left its artifacts."""
    folder: tyro.conf.Positional[Path]
    """Where to; a server that reads it swaps the new one in."""
    compare: bool = False
    """Also the teacher and the float32 student of the workdir, for the comparison on the server's page."""


def _export(arguments: list[str]) -> None:
    request = tyro.cli(Export, args=arguments, prog="rexjax export")
    _need_serving()
    from rexjax.serving import export

    about = export.write(request.workdir, request.folder, request.compare)
    size = sum(path.stat().st_size for path in request.folder.rglob("*") if path.is_file())
    out.print(
        f"{request.folder}: {about['items']:,} items, {size:,} bytes, for {', '.join(about['platforms'])}; "
        f"serve it with `rexjax serve {request.folder}`",
        highlight=False,
        soft_wrap=True,
    )


@dataclasses.dataclass(frozen=True)
class Serve:
    """Answers over HTTP: a page at /, POST /v1/recommend, POST /v1/events, /openapi.json, /metrics."""

    folder: tyro.conf.Positional[Path]
    """What `rexjax export` wrote; a new export into it is swapped in while the server runs."""
    host: str = "127.0.0.1"
    """Where to listen; anything but this machine needs keys."""
    port: int = 8000
    """Likewise; 0 takes a free one."""
    keys: Path | None = None
    """A file of API keys, a line NAME:SHA256 or NAME:SHA256:REQUESTS_A_SECOND each; else $REXJAX_API_KEYS."""
    store: Path = Path("histories.db")
    """The SQLite file of users' histories; made if it is not there."""
    waiting: int = 1024
    """At most so many requests wait; further ones are told to come again."""


def _serve(arguments: list[str]) -> None:
    request = tyro.cli(Serve, args=arguments, prog="rexjax serve")
    _need_serving()
    from rexjax.runtime.compile_cache import keep_compiled_programs
    from rexjax.serving import run

    keep_compiled_programs(0.0)  # all of them, so that a restart is short
    run.serve(request.folder, request.host, request.port, request.keys, request.store, request.waiting, _say)


def _need_serving() -> None:
    needed = ("flatbuffers", "msgspec", "prometheus_client", "starlette", "uvicorn")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise UserError(f"serving needs {', '.join(missing)}: pip install 'rexjax[serve]'")
