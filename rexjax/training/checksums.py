"""Checksums of a checkpoint: what has one can be checked before it is believed.

They are written before the checkpoint gets its name, so that no checkpoint is ever without; only the few files that
Orbax adds as it gives the name are added later (``complete``).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rexjax.artifacts.files import file_hash, write_json
from rexjax.artifacts.hashing import digest

NAME = "checksums.json"


def write(folder: Path) -> None:
    """Size and SHA-256 of every file in folders below ``folder``, in a file there that vouches for itself."""
    _write(folder, _sums(folder, folder.glob("*/**/*")), complete=False)


def complete(folder: Path) -> None:
    """Adds the files that lie in ``folder`` itself; does nothing where that was done."""
    found = _read(folder)
    if found and not found["complete"]:
        _write(folder, found["files"] | _sums(folder, folder.glob("*")), complete=True)


def damage(folder: Path) -> str:
    """What is wrong with the checkpoint in ``folder``, by the name of the first such file; '' if nothing is."""
    found = _read(folder)
    if not found:
        return f"{NAME} is missing or altered"
    for name, (size, sha256) in found["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
        if file_hash(path) != sha256:
            return f"{name} is altered"
    return ""


def _sums(folder: Path, paths: Iterable[Path]) -> dict[str, list[Any]]:
    files = sorted(path for path in paths if path.is_file() and path.name != NAME)
    return {str(path.relative_to(folder)): [path.stat().st_size, file_hash(path)] for path in files}


def _write(folder: Path, files: dict[str, list[Any]], *, complete: bool) -> None:
    found = {"complete": complete, "files": files}
    write_json(folder / NAME, found | {"sha256": digest(found)})


def _read(folder: Path) -> dict[str, Any] | None:
    """None where it is missing or does not vouch for itself."""
    try:
        text = (folder / NAME).read_text()
        found = json.loads(text)
        sha256 = found.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return found if digest(found) == sha256 and text.endswith("\n") else None
