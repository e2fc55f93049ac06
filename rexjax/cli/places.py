"""Types of flags that several commands have, with the names that their help shows."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeVar

from tyro.conf import Positional, arg

from rexjax.artifacts.paths import local_path
from rexjax.cli.fields import keys_of

T = TypeVar("T")

ConfigFile = Annotated[Path, Positional, arg(metavar="CONFIG")]
"""A Python file with ``get_config()``."""
Workdir = Annotated[Path, Positional, arg(metavar="WORKDIR")]
"""Where ``rexjax run`` left its artifacts."""
Folder = Annotated[Path, Positional, arg(metavar="FOLDER")]
"""What ``rexjax export`` writes and ``rexjax serve`` reads."""
File = Annotated[Path | None, arg(metavar="FILE")]
"""A file, where one is named."""


def local(request: T) -> T:
    """The settings of a command, with ``~`` expanded in all paths.

    Raises:
        UserError: a path lies in a bucket.
    """
    flags = {
        key.name.replace("-", "_"): key.name.upper() if key.positional else f"--{key.name}" for key in keys_of(request)
    }
    paths = {name: value for name in flags if isinstance(value := getattr(request, name), Path)}
    return dataclasses.replace(request, **{name: local_path(path, flags[name]) for name, path in paths.items()})


@contextlib.contextmanager
def exported(place: Path) -> Iterator[Path]:
    """The folder of an export that is named by itself, or as REGISTRY@VERSION.

    REGISTRY@champion and REGISTRY@challenger follow promotions. Any other version stays as it is, and is pinned while
    the body runs.

    Raises:
        UserError: there is no such registry or version, or the version has no export.
    """
    registry, at, version = str(place).rpartition("@")
    if not at or place.exists():
        yield place
        return
    from rexjax.registry import Registry

    with Registry.open(registry).serving(version) as folder:
        yield folder
