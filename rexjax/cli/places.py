"""Types of flags that several commands have, with the names that their help shows."""

import dataclasses
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
