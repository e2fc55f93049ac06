"""Settings of dataclasses as the command line spells them: name, type, default and help of each."""

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

_TYPES = {int: ("INT", "an integer"), float: ("FLOAT", "a number"), str: ("STR", "a text"), Path: ("PATH", "a path")}


class Key(NamedTuple):
    """One setting."""

    name: str
    """Dotted, with hyphens, without the two before it: ``student.model.top-k``."""
    hint: Any
    """Its type."""
    default: Any
    """``dataclasses.MISSING`` where it must be given."""
    help: str
    markers: tuple[Any, ...] = ()
    """Of ``tyro.conf``."""

    @property
    def positional(self) -> bool:
        """Whether it is given by its place."""
        return tyro.conf.Positional in self.markers

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value, but is written ``--key`` or ``--no-key``."""
        return self.hint is bool

    @property
    def negation(self) -> str:
        """The name that switches it off."""
        group, dot, last = self.name.rpartition(".")
        return f"{group}{dot}no-{last}"


def keys_of(value: Any, prefix: str = "") -> Iterator[Key]:
    """All settings that tyro takes for ``value``, parts of parts included.

    Args:
        value: a dataclass, whose fields may lack a default; or an instance of one, whose values are the defaults.
        prefix: before each name.
    """
    kind = value if isinstance(value, type) else type(value)
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(value):
        hint, markers = _unwrap(hints[field.name])
        if tyro.conf.Suppress in markers:
            continue
        name, default = prefix + field.name.replace("_", "-"), getattr(value, field.name, dataclasses.MISSING)
        if dataclasses.is_dataclass(default):
            yield from keys_of(default, f"{name}.")
        elif isinstance(default, tuple) and any(map(dataclasses.is_dataclass, default)):
            for number, part in enumerate(default):
                yield from keys_of(part, f"{name}.{number}.")
        elif _is_plain(hint):
            yield Key(name, hint, default, _help(kind, field.name), markers)


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if typing.get_origin(hint) is Annotated:
        inner, *markers = typing.get_args(hint)
        return inner, tuple(markers)
    return hint, ()


def _parts(hint: Any) -> tuple[Any, ...]:
    """The types of a tuple's or of an optional value."""
    return tuple(part for part in typing.get_args(hint) if part not in (Ellipsis, type(None)))


def _is_plain(hint: Any) -> bool:
    if typing.get_origin(hint) in (tuple, types.UnionType, typing.Union):
        return all(map(_is_plain, _parts(hint)))
    return hint in (*_TYPES, bool) or typing.get_origin(hint) is Literal


def spell_type(hint: Any) -> str:
    """As in the help: INT, [STR ...], {a,b}."""
    if typing.get_origin(hint) is tuple:
        return f"[{spell_type(_parts(hint)[0])} ...]"
    if typing.get_origin(hint) is Literal:
        return "{" + ",".join(map(str, typing.get_args(hint))) + "}"
    if hint is bool:
        return ""
    if _parts(hint) == (bool,):
        return "{True,False}"
    return _TYPES[hint][0] if hint in _TYPES else spell_type(_parts(hint)[0])


def spell_value(value: Any) -> str:
    """As it is typed on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(spell_value, value))
    return f"'{value}'" if value == "" or isinstance(value, str) and " " in value else str(value)


def what_fits(key: Key) -> str:
    """What a value of the key must be, in words, with its default as an example."""
    if key.is_switch:
        return f"no value: write --{key.name} or --{key.negation}"
    example = "" if key.default in (None, "", (), dataclasses.MISSING) else f", such as {spell_value(key.default)}"
    if typing.get_origin(key.hint) is tuple:
        return f"any number of values, {_words(_parts(key.hint)[0])} each{example}"
    return _words(key.hint) + example


def _words(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    if hint is bool:
        return "True or False"
    return _TYPES[hint][1] if hint in _TYPES else _words(_parts(hint)[0])


def _help(kind: type, name: str) -> str:
    """The string beneath the field, of the class that declares it last."""
    return next((helps[name] for base in kind.__mro__ if name in (helps := _docstrings(base))), "")


@cache
def _docstrings(kind: type) -> dict[str, str]:
    if not dataclasses.is_dataclass(kind):
        return {}
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    except (OSError, SyntaxError):  # a class without source
        return {}
    found = {}
    for field, said in zip(body, body[1:], strict=False):
        match field, said:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
    return found
