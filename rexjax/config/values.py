"""Settings as plain values: checked, hashed, compared and read back (``rexjax.config.schema`` declares them)."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, Literal

from rexjax.artifacts.classes import Open
from rexjax.errors import UserError


def check(config: Any, prefix: str = "") -> None:
    """Compares each value in a dataclass with its annotation; UserError names the first key that does not fit."""
    hints = typing.get_type_hints(type(config))
    for f in dataclasses.fields(config):
        value, hint, name = getattr(config, f.name), hints[f.name], prefix + f.name
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, hint) and issubclass(hint, Open):
                raise UserError(f"config key {name} is {value!r}, which is no {hint.__name__}: {_advise(value, hint)}")
            if not isinstance(value, hint):
                raise UserError(f"config key {name} must be a {hint.__name__}, not {value!r}")
            check(value, name + ".")
        elif isinstance(value, tuple) and _of_dataclasses(hint):
            for number, part in enumerate(value):
                if not isinstance(part, typing.get_args(hint)[0]):
                    needed = typing.get_args(hint)[0].__name__
                    raise UserError(f"config key {name}.{number} must be a {needed}, not {part!r}")
                check(part, f"{name}.{number}.")
        elif not _fits(value, hint):
            raise UserError(f"config key {name} is {value!r}, which is not {_spell(hint)}")


def _of_dataclasses(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple and dataclasses.is_dataclass(typing.get_args(hint)[0])


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(v, typing.get_args(hint)[0]) for v in value)
    if origin is Callable:
        return callable(value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _spell(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    return getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint)


def _advise(value: Any, hint: type) -> str:
    """What to write in the place of ``value``, where one of the classes is named like it, else any of them."""
    names = [kind.__name__ for kind in _concrete(hint)]
    said = (value.__name__ if isinstance(value, type) else str(value)).lower()
    meant = [name for name in names if name.lower() == said] or names
    return f"import {' or '.join(meant)} from rexjax.config and write {' or '.join(f'{name}(…)' for name in meant)}"


def _concrete(kind: type) -> list[type]:
    """The classes below ``kind`` that can be made."""
    below = [sub for direct in kind.__subclasses__() for sub in (direct, *_concrete(direct))]
    return [sub for sub in below if not inspect.isabstract(sub)]
