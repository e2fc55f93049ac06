"""Types of flags that several commands have, with the names that their help shows."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

ConfigFile = Annotated[Path, Positional, arg(metavar="CONFIG")]
"""A Python file with ``get_config()``."""
Workdir = Annotated[Path, Positional, arg(metavar="WORKDIR")]
"""Where ``rexjax run`` left its artifacts."""
Folder = Annotated[Path, Positional, arg(metavar="FOLDER")]
"""What ``rexjax export`` writes and ``rexjax serve`` reads."""
File = Annotated[Path | None, arg(metavar="FILE")]
"""A file, where one is named."""
