"""Settings as plain values: checked, hashed, compared and read back (``rexjax.config.schema`` declares them)."""

import dataclasses
import inspect
import math
import typing
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, Literal, TypeVar

import numpy as np

from rexjax.artifacts.classes import Open
from rexjax.errors import UserError

T = TypeVar("T")

_BEYOND = 2**31
"""Of whole numbers: JAX counts in int32."""


def normal(config: T) -> T:
    """The same settings in plain Python: paths as text, NumPy's numbers as numbers, lists as tuples.

    Raises:
        UserError: a value does not fit its key (``check``).
    """
    plain = _plain(config)
    check(plain)
    return plain


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **changed)
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if isinstance(value, PurePath):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def check(config: Any) -> None:
    """Compares each value in a dataclass with its annotation.

    Raises:
        UserError: values do not fit; every key among them is named.
    """
    if found := list(_mistakes(config, "")):
        raise UserError("; ".join(found))


def _mistakes(config: Any, prefix: str) -> Iterator[str]:
    hints = typing.get_type_hints(type(config))
    for f in dataclasses.fields(config):
        value, hint, name = getattr(config, f.name), hints[f.name], prefix + f.name
        if dataclasses.is_dataclass(hint):
            yield from _part_mistakes(value, hint, name)
        elif isinstance(value, tuple) and _of_dataclasses(hint):
            for number, part in enumerate(value):
                yield from _part_mistakes(part, typing.get_args(hint)[0], f"{name}.{number}")
        elif not _fits(value, hint):
            yield f"config key {name} is {value!r}, which is not {_spell(hint)}"
        else:
            yield from _absurd(value, name)


def _part_mistakes(value: Any, hint: Any, name: str) -> Iterator[str]:
    if isinstance(value, hint):
        yield from _mistakes(value, f"{name}.")
    elif issubclass(hint, Open) and _concrete(hint):
        yield f"config key {name} is {value!r}, which is no {hint.__name__}: {_advise(value, hint)}"
    else:
        yield f"config key {name} must be a {hint.__name__}, not {value!r}"


def _absurd(value: Any, name: str) -> Iterator[str]:
    """What no key may be, whatever it means; what one of them needs is checked where it is declared."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"config key {name} is {value}: set it to a finite number"
    elif isinstance(value, int) and abs(value) >= _BEYOND:
        yield f"config key {name} is {value}: set it below {_BEYOND}"
    elif isinstance(value, str) and any(ord(letter) < 32 for letter in value):
        yield f"config key {name} is {value!r}, which holds a control character: write r'…' for a path with \\"
    elif isinstance(value, tuple):
        for part in value:
            yield from _absurd(part, name)


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
