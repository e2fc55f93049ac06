"""The entry point of the command line: finds the command, and turns what ends it into an exit code and one sentence."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rexjax.cli import (
    arguments,
    compare,
    curves,
    delta,
    items,
    keys,
    models,
    places,
    plan,
    recommend,
    refresh,
    run,
    search,
    serve,
    terminal,
)
from rexjax.cli.fields import keys_of
from rexjax.cli.suggest import nearest
from rexjax.errors import UserError
from rexjax.runtime import output, platform


class Command(NamedTuple):
    """A command."""

    kind: type
    """The dataclass of its own flags."""
    run: Callable[..., None]
    """(request) or, where it takes keys of a config, (request, config)."""
    keys: bool = False
    """Whether it takes keys of a config."""
    what: str = ""
    """In place of the dataclass's docstring."""
    actions: Mapping[str, tuple[type, Callable[..., None]]] = MappingProxyType({})
    """Commands of its own, by the word after its name."""


COMMANDS = {
    "run": Command(run.Run, run.run_all, keys=True),
    "refresh": Command(refresh.Refresh, refresh.refresh, keys=True),
    "sweep": Command(search.Sweep, search.sweep, keys=True),
    "curves": Command(curves.Curves, curves.curves, keys=True),
    "compare": Command(compare.Compare, compare.compare),
    "recommend": Command(recommend.Recommend, recommend.recommend),
    "items": Command(items.Items, items.items),
    "export": Command(serve.Export, serve.export),
    "delta": Command(delta.Delta, delta.choose, actions=delta.ACTIONS),
    "serve": Command(serve.Serve, serve.serve),
    "models": Command(models.Models, models.choose, actions=models.ACTIONS),
    "plan": Command(plan.Plan, plan.plan, keys=True),
    "keys": Command(keys.Keys, keys.keys),
}
"""All commands but those of single stages."""


def stage_commands() -> dict[str, Command]:
    """The commands of single stages."""
    from rexjax.pipeline import runner

    special = {"encode": (run.Encode, run.encode), "compress": (run.Compress, run.compress)}
    found = {}
    for stage in runner.STAGES:
        kind, action = special.get(stage.name, (run.Run, partial(run.run_stage, stage.name)))
        found[stage.name] = Command(kind, action, keys=True, what=f"{stage.what[:1].upper()}{stage.what[1:]}.")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``rexjax``; exits 0 when done, 1 when a plan does not fit, 2 on a user's mistake, 75 when it was
    asked to stop and has saved, 141 when nobody reads its output any more."""
    _settle()
    try:
        _dispatch(list(sys.argv[1:] if argv is None else argv))
    except BaseException as error:
        _leave(error)


def _settle() -> None:
    """Makes the process's surroundings such that neither a flag of JAX, nor a character, nor a warning ends the run."""
    platform.skip_absent_tpu()
    platform.set_flags(os.environ)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream of a notebook or a test
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    if platform.warnings_are_errors():
        platform.warn_as_usual()


def _leave(error: BaseException) -> None:
    """Ends the process with the exit code and the sentence of ``error``; what nobody foresaw is raised again."""
    from rexjax.cli import exits
    from rexjax.runtime import processes

    gone = output.without_reader()
    output.silence(gone)
    if gone and isinstance(error, BrokenPipeError):
        processes.leave(exits.CLOSED)
    if known := exits.of(error):
        code, sentence = known
        terminal.complain(sentence, style="red" if code == 2 else "")
        processes.leave(code)
    if processes.count() == 1 or not isinstance(error, Exception):
        raise error
    traceback.print_exception(error)
    processes.leave(1)


def _dispatch(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        terminal.say_whole(overview())
    elif argv[0] in ("-V", "--version"):
        from rexjax.runtime.version import __version__

        terminal.say(f"rexjax {__version__}")
    else:
        _run(argv)


def _find(name: str, *rest: str) -> Command:
    """The command ``name``; of a name that is no command's, the config file among ``rest`` may have a stage."""
    if name in COMMANDS:
        return COMMANDS[name]
    stages = stage_commands()
    if name in stages:
        return stages[name]
    if rest and Path(rest[0]).is_file() and not name.startswith("-"):
        return Command(run.Run, partial(run.run_stage, name), keys=True, what=f"Stage {name} of the config.")
    known = [*COMMANDS, *stages]
    near = nearest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it is one of {', '.join(known)}"
    raise UserError(f"no command {name!r}: {hint}; see rexjax --help")


def _run(argv: list[str]) -> None:
    from rexjax.runtime import preemption

    with contextlib.nullcontext() if argv[0] == "serve" else preemption.watched():  # a server drains by itself
        command, request, config = parse(argv)
        command.run(request, config) if command.keys else command.run(request)


def parse(argv: Sequence[str]) -> tuple[Command, Any, Any]:
    """The command that ``argv`` names, its own settings, and the config with its overrides (None: it takes none).

    Raises:
        UserError: a mistake in them or in the config file.
        SystemExit: ``--help`` was asked for.
    """
    name, *rest = argv
    command = _find(name, *rest)
    if rest and rest[0] in command.actions:
        action, *rest = rest
        command, name = Command(*command.actions[action]), f"{name} {action}"
    asked, overrides = arguments.parse(command.kind, rest, f"rexjax {name}", command.what, keys=command.keys)
    request = places.local(asked)
    return command, request, _config(request, overrides) if command.keys else None


def _config(request: Any, overrides: list[str]) -> Any:
    from rexjax.config import schema, values

    flags = [key for key in keys_of(request) if not key.positional]
    config = arguments.override(schema.load(request.config), overrides, flags)
    values.check(config)
    return config


def overview() -> str:
    """The text of ``rexjax --help``."""
    first, *others = COMMANDS.items()
    lines = [_line(name, command) for name, command in (first, *stage_commands().items(), *others)]
    return "\n".join(
        [
            "rexjax: recommendation made cheap. A large model is run once, a small one answers.\n",
            *lines,
            "\nCONFIG is a Python file with get_config(), such as configs/quickstart.py. Any key can be overridden:",
            "  rexjax run configs/quickstart.py --student.model.width 16 --workdir runs/narrow",
            "`rexjax COMMAND --help` explains the flags of a command, `rexjax keys` every key of a config.",
        ]
    )


def _line(name: str, command: Command) -> str:
    named = " ".join(f"[{key.name.upper()}]" if key.default == "" else key.name.upper() for key in _positional(command))
    sentence = (command.what or command.kind.__doc__ or "").partition(". ")[0].split("\n\n")[0]
    return f"  rexjax {name:<10} {named:<15} {' '.join(sentence.split()).removesuffix('.')}"


def _positional(command: Command) -> list[Any]:
    return [key for key in keys_of(command.kind) if key.positional]
