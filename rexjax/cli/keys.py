"""``rexjax keys``."""

import textwrap
from dataclasses import MISSING, dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rexjax.cli import terminal
from rexjax.cli.fields import Key, keys_of, spell_type, spell_value
from rexjax.cli.places import File
from rexjax.cli.suggest import nearest
from rexjax.errors import UserError

_WIDTH = 110


@dataclass(frozen=True)
class Keys:
    """Lists the keys of a config with type, default and help."""

    prefix: Annotated[str, Positional, arg(metavar="PREFIX")] = ""
    """Only keys that begin so, such as student.model."""
    config: File = None
    """A config file, whose classes and values are listed in place of the defaults."""


def keys(request: Keys) -> None:
    """``rexjax keys``."""
    from rexjax.config.schema import Config, load

    config = load(request.config) if request.config else Config(workdir="runs/NAME")
    known = list(keys_of(config))
    prefix = request.prefix.removeprefix("--").replace("_", "-")
    chosen = [key for key in known if key.name.startswith(prefix)]
    if not chosen:
        near = nearest(prefix, (key.name for key in known))
        hint = f", but there is {' and '.join(near)}" if near else ": `rexjax keys` lists all"
        raise UserError(f"no key begins with {prefix!r}{hint}")
    terminal.say_whole("\n".join(map(_describe, chosen)))


def _describe(key: Key) -> str:
    name = f"--{key.name}, --{key.negation}" if key.is_switch else f"--{key.name} {spell_type(key.hint)}"
    default = "" if key.default is MISSING else f" (default: {spell_value(key.default)})"
    said = textwrap.fill(key.help, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"{name}{default}\n{said}"
