"""Paths that a user names: what no folder of this machine is, or cannot be written, is refused before any work."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rexjax.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # pathlib makes gs:/bucket of gs://bucket; C:/ is a drive
_MOUNTS = {
    "gs": "gcsfuse BUCKET FOLDER",
    "s3": "mount-s3 BUCKET FOLDER",
    "abfs": "blobfuse2 mount FOLDER",
    "az": "blobfuse2 mount FOLDER",
    "hdfs": "hadoop-fuse-dfs HOST FOLDER",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM)


def local_path(text: str | Path, flag: str) -> Path:
    """A path as the user wrote it, with ``~`` expanded.

    Args:
        text: the path.
        flag: what it is called, such as ``--workdir``.

    Raises:
        UserError: it is empty, it names a bucket or another machine, or no user has this ``~``.
    """
    name = str(text)
    if not name.strip() or "\0" in name:
        raise UserError(f"{flag} {name!r} is no path: name a folder or file of this machine")
    if scheme := _SCHEME.match(name):
        raise UserError(_refuse_scheme(name, scheme[1].lower(), flag))
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UserError(f"{flag} {name}: {name.partition('/')[0]} is no user of this machine: write it out") from error


def _refuse_scheme(name: str, scheme: str, flag: str) -> str:
    if scheme == "file":
        return f"{flag} {name}: write it as a path, without file:"
    kind = next((mount for known, mount in _MOUNTS.items() if scheme.startswith(known)), "")
    how = f" with `{kind}`" if kind else ""
    return (
        f"{flag} {name} lies on no disk of this machine ({scheme}://), and only folders are read and written: mount it"
        f"{how}, and pass the mounted folder as {flag}"
    )


def check_folder(folder: Path, flag: str) -> None:
    """Refuses a folder that cannot be made or written; leaves nothing behind.

    Raises:
        UserError: the reason, and the file or folder that stands in the way.
    """
    with _refused(folder, flag):
        missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        made: list[Path] = []
        try:
            for path in reversed(missing):
                path.mkdir()
                made.append(path)
            _try_to_write(folder)
        finally:
            for path in reversed(made):
                path.rmdir()


def check_file(path: Path, flag: str) -> None:
    """Refuses a file that cannot be written: its folder must be there.

    Raises:
        UserError: the reason.
    """
    if path.is_dir():
        raise UserError(f"{flag} {path} is a folder: name a file in it")
    if not path.parent.exists():
        raise UserError(f"{flag} {path}: there is no folder {path.parent}: make it, or name another {flag}")
    with _refused(path.parent, flag):
        _try_to_write(path.parent)


def _try_to_write(folder: Path) -> None:
    """A file of one block: less would fit where nothing else does."""
    # without a buffer, which would be written once more as the file is closed
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".rexjax-", suffix=".tmp", buffering=0) as file:
        file.write(bytes(4096))
        os.fsync(file.fileno())


@contextmanager
def _refused(folder: Path, flag: str) -> Iterator[None]:
    """Turns an OSError into a sentence about ``folder``."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{flag} {folder} {_reason(folder, error)}: choose another {flag}") from error


def _reason(folder: Path, error: OSError) -> str:
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path) or path == path.parent)
    if there.is_symlink() and not there.exists():
        return f"cannot be used, for {there} is a link that leads nowhere"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"cannot be used, for {there} is a file and no folder"
    if error.errno in _FULL:
        return f"cannot be written, for the disk is full ({error.strerror})"
    if error.errno == errno.EROFS:
        return f"cannot be written, for {there} lies on a read-only file system"
    if error.errno in _FORBIDDEN:
        return f"cannot be written, for {there} does not permit it ({error.strerror})"
    return f"cannot be made in {there} ({error.strerror})"
