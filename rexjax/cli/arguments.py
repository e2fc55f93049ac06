"""From arguments to a command's own flags and to a config: tyro parses both, and mistakes become one sentence.

The flags of a command are the fields of its dataclass. Every other flag is a key of the config.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import tyro

from rexjax.cli import renamed
from rexjax.cli.fields import Key, keys_of, what_fits
from rexjax.cli.suggest import nearest
from rexjax.errors import UserError

if TYPE_CHECKING:
    from rexjax.config.schema import Config

T = TypeVar("T")

KEYS = "Keys of the config can be given as well, such as --student.model.width 16: `rexjax keys` lists them."
"""In the help of commands that take a config."""
_HELP = ("help", "-h")


class Group(NamedTuple):
    """A flag and the values after it."""

    name: str
    """Without the hyphens before it, and with hyphens in place of underscores."""
    values: list[str]
    arguments: list[str]
    """As they were typed."""


class _Refused(Exception):
    """tyro does not take the arguments."""


def parse(kind: type[T], arguments: Sequence[str], prog: str, what: str = "", *, keys: bool) -> tuple[T, list[str]]:
    """A command's own settings, and the arguments that are none of them.

    Args:
        kind: the command's dataclass.
        arguments: what follows the command's name.
        prog: such as ``rexjax run``.
        what: for the help; by default the dataclass's docstring.
        keys: whether the command takes keys of a config.

    Raises:
        UserError: a flag or value of the command's own is wrong, or missing.
        SystemExit: ``--help`` was asked for.
    """
    known = list(keys_of(kind))
    own, rest = split(known, arguments)
    if not keys:
        check_names(rest, known, f"`{prog} --help` lists the flags")
    note = " ".join(filter(None, (what or kind.__doc__, KEYS if keys else "")))
    try:
        return _tyro(kind, own, prog=prog, description=note), rest
    except _Refused:
        raise UserError(_mistake(kind, known, own, prog)) from None


def split(known: list[Key], arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of the command's own keys ``known``, and all others; a word before any flag is the command's."""
    flags = {key.name: key for key in known if not key.positional}
    switches = {name for key in flags.values() if key.is_switch for name in (key.name, key.negation)} | set(_HELP)
    own: list[str] = []
    rest: list[str] = []
    values_wait, words = 0, own  # of one of the own flags; where another word belongs
    for argument in arguments:
        name, equals, _ = _name(argument).partition("=")
        if name in flags or name in switches:
            own.append(argument)
            values_wait, words = int(not equals and name not in switches), own
        elif name:
            rest.append(argument)
            values_wait, words = 0, own if equals else rest
        else:
            (own if values_wait else words).append(argument)
            values_wait = 0
    return own, rest


def _name(argument: str) -> str:
    """Of a flag, with "=" and what follows; '' of a value."""
    if argument == "-h":
        return argument
    if not argument.startswith("--"):
        return ""
    name, equals, value = argument[2:].partition("=")
    return name.replace("_", "-") + equals + value or "--"


def groups(arguments: Sequence[str]) -> list[Group]:
    """The flags in ``arguments``, each with its values; words before the first one have the name ''."""
    found: list[Group] = []
    for argument in arguments:
        name, equals, value = _name(argument).partition("=")
        if name:
            found.append(Group(name, [value] if equals else [], [argument]))
        elif found:
            found[-1].values.append(argument)
            found[-1].arguments.append(argument)
        else:
            found.append(Group("", [argument], [argument]))
    return found


def override(config: "Config", arguments: Sequence[str], flags: Sequence[Key] = ()) -> "Config":
    """The config with keys that ``arguments`` give another value.

    Args:
        config: as its file says.
        arguments: ``--key value …``.
        flags: the command's own, which a misspelt key may have meant.

    Raises:
        UserError: there is no such key, or a value does not fit.
    """
    from rexjax.config.schema import Config

    if not arguments:
        return config
    known = list(keys_of(config))
    check_names(arguments, known, "`rexjax keys` lists all keys", flags)
    try:
        return _tyro(Config, arguments, default=config)
    except _Refused:
        pass

    def takes(group: Group) -> bool:
        return _takes(lambda: _tyro(Config, group.arguments, default=config))

    raise UserError(_bad_values(arguments, known, takes))


def _tyro(kind: Any, arguments: Sequence[str], **options: Any) -> Any:
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(kind, args=list(arguments), **options)
    except SystemExit as stop:
        if stop.code:
            raise _Refused from None
        raise


def _takes(parsed: Callable[[], Any]) -> bool:
    try:
        parsed()
    except _Refused:
        return False
    except UserError:
        pass  # parsed, and refused by the config's own checks
    return True


def check_names(arguments: Sequence[str], known: list[Key], where: str, flags: Sequence[Key] = ()) -> None:
    """Refuses keys that are not ``known``, all of them in one sentence.

    Args:
        arguments: flags with their values.
        known: what they may be.
        where: a clause that says where the known ones are listed.
        flags: further ones that a misspelt one may have meant.

    Raises:
        UserError: there are such keys.
    """
    spelt = {key.name: key for key in known} | {key.negation: key for key in known if key.is_switch}
    wrong = [group.name for group in groups(arguments) if group.name and group.name not in spelt]
    if not wrong:
        return
    parts = [f"--{name} ({_hint(name, [*flags, *known])})" for name in dict.fromkeys(wrong)]
    what = "there is no key" if len(parts) == 1 else "there are no keys"
    raise UserError(f"{what} {', '.join(parts)}; {where}")


def _hint(name: str, known: list[Key]) -> str:
    if advice := renamed.advice(name):
        return advice
    near = nearest(name, (key.name for key in known if not key.positional))
    return f"did you mean {' or '.join(f'--{key}' for key in near)}?" if near else "and none like it"


def _bad_values(arguments: Sequence[str], known: list[Key], takes: Callable[[Group], bool]) -> str:
    """What is wrong with the values in ``arguments``, whose names are known."""
    spelt = {key.negation: key for key in known if key.is_switch} | {key.name: key for key in known}
    parts = []
    for group in groups(arguments):
        if not group.name:
            parts.append(f"{' '.join(group.values)!r} belongs to no flag: the words of a command come first")
        elif not takes(group):
            parts.append(_bad_value(spelt[group.name], group))
    return "; ".join(parts) or f"the arguments {' '.join(arguments)!r} do not fit together: see --help"


def _bad_value(key: Key, group: Group) -> str:
    given = f" {' '.join(group.values)!r}" if group.values else " without a value"
    return f"--{group.name}{given} does not fit: it takes {what_fits(key)}"


def _mistake(kind: type, known: list[Key], own: list[str], prog: str) -> str:
    """Why tyro does not take a command's own arguments."""
    needed = [key for key in known if key.positional]
    flags = [key for key in known if not key.positional]
    words, rest = _words(flags, own)
    if len(words) < len(needed):
        return _missing(needed, words, prog)
    if len(words) > len(needed):
        extra = " ".join(words[len(needed) :])
        return f"{extra!r} is too much: it is `{prog} {' '.join(key.name.upper() for key in needed)}`, and flags"

    def takes(group: Group) -> bool:
        return _takes(lambda: _tyro(kind, [*words, *group.arguments]))

    return _bad_values(rest, flags, takes)


def _words(flags: list[Key], own: list[str]) -> tuple[list[str], list[str]]:
    """The words that belong to no flag, and the flags with their values."""
    switches = {name for key in flags if key.is_switch for name in (key.name, key.negation)}
    words: list[str] = []
    rest: list[str] = []
    value_waits = False
    for argument in own:
        name, equals, _ = _name(argument).partition("=")
        (rest if name or value_waits else words).append(argument)
        value_waits = bool(name) and not equals and name not in switches
    return words, rest


def _missing(needed: list[Key], words: list[str], prog: str) -> str:
    if needed[0].name == "config":
        return f"name a config, before any of its keys: {prog} configs/quickstart.py"
    names = " ".join(key.name.upper() for key in needed)
    return f"{needed[len(words)].name.upper()} is missing: {prog} {names}"
