"""The files of a registry: what is written is on the disk before anything names it.

The other modules of this package touch files through this one alone, so that a bucket needs one other module.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from rexjax.artifacts import owned
from rexjax.artifacts.files import TEMPORARY, file_hash, write_json
from rexjax.artifacts.owned import MANIFEST, MARK, NOTES, STARTED
from rexjax.errors import UserError


def replace_text(path: Path, text: str) -> None:
    """Replaces the file whole. It is on the disk when this returns; a reader sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync(path.parent)


def read_text(path: Path) -> str | None:
    """The text of a file; None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): restore it from a copy") from error


def copy(source: Path, target: Path) -> None:
    """Copies a file, or a folder with all that it holds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def link(source: Path, target: Path, first: str) -> None:
    """Gives the files of a folder, ``first`` before the others, a second name in ``target``; copies where there are no
    links. Files that are there already stay."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: path.name != first):
        if not (target / path.name).exists():
            _link_file(path, target / path.name)
    _sync(target)


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        temporary = target.with_name(target.name + TEMPORARY)
        shutil.copyfile(source, temporary)
        _sync(temporary)
        os.replace(temporary, target)


def remove(path: Path) -> None:
    """Removes a file that this package wrote, if it is there."""
    path.unlink(missing_ok=True)


def begin(folder: Path, key: str, token: int) -> None:
    """Makes an empty marked folder for a version."""
    owned.remove_unfinished(folder)
    owned.make(folder, key=key, token=token)


def finish(folder: Path, about: dict[str, Any]) -> None:
    """Writes the manifest last, when all other files are on the disk."""
    notes = {folder / name for name in NOTES}
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path not in notes)
    files = {str(path.relative_to(folder)): [path.stat().st_size, file_hash(path)] for path in paths}
    for path in (*paths, *(path for path in folder.rglob("*") if path.is_dir()), folder):
        _sync(path)
    write_json(folder / STARTED, MARK | about | {"files": files})
    _sync(folder / STARTED)
    os.replace(folder / STARTED, folder / MANIFEST)
    _sync(folder)
    _sync(folder.parent)


def remove_version(folder: Path) -> None:
    """Removes what this project wrote into the folder of a version, finished or not."""
    if (folder / MANIFEST).exists():
        owned.remove_finished(folder)
    else:
        owned.remove_unfinished(folder)


def folders(place: Path) -> list[Path]:
    """The folders in ``place``, by name."""
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def damage(folder: Path, files: dict[str, Any]) -> str:
    """The first of a version's files that is missing or altered; "" where all are as they were written."""
    return next((name for name, entry in files.items() if not _is_as_written(folder / name, *entry)), "")


def _is_as_written(path: Path, size: int, sha256: str) -> bool:
    return path.is_file() and path.stat().st_size == size and file_hash(path) == sha256


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
