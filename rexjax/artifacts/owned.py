"""Ownership: what this project has made carries its mark, and nothing else is ever removed or replaced."""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rexjax.artifacts.files import TEMPORARY, file_hash, read_json, write_json
from rexjax.errors import UserError
from rexjax.runtime.progress import notice

MARK = {"made_by": "rexjax"}
"""In every JSON file by which a folder or file is known to be this project's."""
STARTED, MANIFEST = "started.json", "manifest.json"
"""A folder of this project's has the first one, and a finished version the second one in its place."""
NOTES = frozenset(name + ending for name in (STARTED, MANIFEST) for ending in ("", TEMPORARY))
"""What is written about a folder, and not by its stage."""
_CHEAP = 1 << 20  # bytes of a file that is hashed before it is removed; of larger ones the size must do


def is_marked(value: dict[str, Any]) -> bool:
    """Whether a JSON object carries the mark."""
    return value.items() >= MARK.items()


def is_ours(folder: Path) -> bool:
    """Whether ``folder`` is a real folder (no link) that was made by this project."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return any(is_marked(read_json(folder / name)) for name in (STARTED, MANIFEST))  # a version has one or the other


def make(folder: Path, **about: Any) -> None:
    """Makes ``folder`` and marks it, with what is known ``about`` it.

    Raises:
        UserError: it is there and not this project's.
    """
    refuse([folder] if is_foreign(folder) else [], folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STARTED, MARK | about | {"time": time.time()})


def is_foreign(folder: Path) -> bool:
    """Whether something stands in the way of ``folder``: a file, a link, or a folder that holds what is not ours."""
    if not os.path.lexists(folder):
        return False
    if folder.is_symlink() or not folder.is_dir():
        return True
    return not _is_empty(folder) and not is_ours(folder)  # in this order: the mark may come meanwhile


def _is_empty(folder: Path) -> bool:
    """Whether nothing lies in it but what is left where the one who made it was killed before it wrote the mark."""
    return all(path.name == STARTED + TEMPORARY for path in folder.iterdir())


def refuse(foreign: Iterable[Path], folder: Path) -> None:
    """Refuses ``folder`` because of what in it is not this project's, all of it in one sentence.

    Raises:
        UserError: there is any.
    """
    names = sorted(path.name for path in foreign)
    if names:
        what = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        raise UserError(
            f"{folder} holds {what}, which rexjax did not make: choose another folder, or move your files away"
        )


def remove_unfinished(folder: Path) -> None:
    """Removes a marked folder that holds unfinished work; the mark goes last, so that a second try finds it."""
    if is_foreign(folder) or not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if path.name != STARTED:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (folder / STARTED).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a worker that still lives has written more
        folder.rmdir()


def remove_finished(folder: Path) -> None:
    """Removes from a finished folder what its manifest lists, and is still as it was written; then empty folders.

    What else lies there stays, and is named in a notice.
    """
    manifest = read_json(folder / MANIFEST)
    if folder.is_symlink() or not is_marked(manifest):
        return
    for name, (size, sha256) in manifest["files"].items():
        path = folder / name
        if _is_as_written(path, folder, size, sha256):
            path.unlink(missing_ok=True)
    for name in sorted(NOTES, key=lambda name: name == MANIFEST):  # without it nobody would go on with this
        (folder / name).unlink(missing_ok=True)
    for parent, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(parent)
    if left := next((path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()), None):
        notice(f"{folder} is an older version and stays, for it holds {left.name}, which rexjax did not write")


def _is_as_written(path: Path, folder: Path, size: int, sha256: str) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    inside = path.parent.resolve().is_relative_to(folder.resolve())
    if not inside or not stat.S_ISREG(found.st_mode) or found.st_size != size:
        return False
    return size > _CHEAP or file_hash(path) == sha256
