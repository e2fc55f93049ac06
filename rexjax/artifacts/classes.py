"""Classes that a config file chooses: how they are named in JSON, and found again by that name.

A class of a package is named ``module:Class``. A class that a config file defines is named ``FILE.py@HASH:Class``,
after the file's content; a workdir keeps a copy of the file, and finding the class runs that copy.
"""

import dataclasses
import importlib
import importlib.util
import shutil
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from rexjax.artifacts.files import file_hash
from rexjax.errors import UserError

_PREFIX = "rexjax_config_"
_DIGITS = 16

T = TypeVar("T")


class Open:
    """Base of frozen dataclasses that anyone may subclass, in a config file too."""


def run_file(path: Path) -> ModuleType:
    """Runs the Python file ``path`` as a module that is named by the file's hash, once a process.

    Raises:
        Exception: whatever the file raises.
    """
    name = _PREFIX + file_hash(path)[:_DIGITS]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file: it must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations of dataclasses are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def class_name(kind: Any) -> str:
    """The name by which ``find_class`` finds a class, and ``find`` a function too."""
    module = kind.__module__
    if module.startswith(_PREFIX):
        return f"{Path(str(sys.modules[module].__file__)).name}@{module.removeprefix(_PREFIX)}:{kind.__qualname__}"
    return f"{module}:{kind.__qualname__}"


def find_class(name: str, base: type[T], files: Path | None = None) -> type[T]:
    """The class that ``class_name`` named.

    Args:
        name: ``module:Class`` or ``FILE.py@HASH:Class``.
        base: what it must be a subclass of.
        files: folder with copies of config files (``keep_files``).

    Raises:
        UserError: there is no such class, or the file that defines it is missing or altered.
    """
    found = find(name, files)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{name} is no {base.__name__}: name a subclass of it")
    return found


def find(name: str, files: Path | None = None) -> Any:
    """The class or function that ``class_name`` named.

    Raises:
        UserError: there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found: Any = _module(module, files)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{name} cannot be found ({error}): install the package that defines it") from error
    return found


def _module(name: str, files: Path | None) -> ModuleType:
    file, _, digest = name.partition("@")
    if not digest:
        return importlib.import_module(name)
    if loaded := sys.modules.get(_PREFIX + digest):
        return loaded
    path = None if files is None else files / digest / file
    if path is None or not path.is_file():
        raise UserError(
            f"a class comes from the config file {file} ({digest}), which is not here: load that file first"
        )
    if not file_hash(path).startswith(digest):
        raise UserError(f"{path} is altered, its hash is no longer {digest}: restore the config file")
    print(f"rexjax: runs {path}", file=sys.stderr)
    return run_file(path)


def keep_files(value: Any, folder: Path) -> None:
    """Copies every config file that defines a class or function in ``value`` to ``folder``/HASH/FILE."""
    for kind in {part if callable(part) else type(part) for part in _parts(value)}:
        if not kind.__module__.startswith(_PREFIX):
            continue
        source = Path(str(sys.modules[kind.__module__].__file__))
        target = folder / kind.__module__.removeprefix(_PREFIX) / source.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _parts(value: Any) -> Iterator[Any]:
    """Every dataclass instance and function in ``value``."""
    if callable(value) and not isinstance(value, type):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _parts(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in dataclasses.fields(value):
            yield from _parts(getattr(value, field.name))


def as_dict(value: Any) -> Any:
    """A dataclass as plain JSON values; an ``Open`` one says its class under "class"."""
    if isinstance(value, tuple | list):
        return [as_dict(part) for part in value]
    if isinstance(value, dict):
        return {str(key): as_dict(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: as_dict(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return ({"class": class_name(type(value))} if isinstance(value, Open) else {}) | fields
    return class_name(value) if callable(value) else value


def from_dict(kind: type[T], values: dict[str, Any], files: Path | None = None) -> T:
    """The inverse of ``as_dict``.

    Args:
        kind: the dataclass, or the ``Open`` base of it.
        values: what ``as_dict`` returned.
        files: see ``find_class``.
    """
    values = dict(values)
    if "class" in values:
        kind = find_class(values.pop("class"), kind, files)
    hints = typing.get_type_hints(kind)
    if unknown := values.keys() - hints.keys():
        raise UserError(f"{kind.__name__} has no key {', '.join(sorted(unknown))}: it was made by another version")
    return kind(**{name: _value(hints[name], value, files) for name, value in values.items()})


def _value(hint: Any, value: Any, files: Path | None) -> Any:
    if isinstance(value, list):
        inner = (typing.get_args(hint) or (Any,))[0]
        return tuple(_value(inner, part, files) for part in value)
    if (
        isinstance(value, dict)
        and isinstance(hint, type)
        and (issubclass(hint, Open) or dataclasses.is_dataclass(hint))
    ):
        return from_dict(hint, value, files)
    return value
