"""Files that are read once: each is opened by descriptor, copied into private memory and hashed there.

What is written over a file afterwards, or cut off it, changes no answer and ends no process. Only the bytes that were
hashed are used.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rexjax.artifacts import owned
from rexjax.errors import UserError

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CHUNK = 1 << 20
_ALIGNED = 64  # bytes; JAX takes arrays on CPU as they lie where they begin at a multiple
# no link is followed, and a pipe does not make the reader wait
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
BESIDE = frozenset({"signature"}) | owned.NOTES
"""Files of a folder of parts that ``bundle.json`` does not name."""


def read_all(place: Path, hashes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The files of ``place`` as uint8 arrays, by name.

    Args:
        place: a folder that holds these files and no others but ``BESIDE``.
        hashes: SHA-256 in hexadecimal, by file name.

    Raises:
        UserError: a name is no plain name, or a file is missing, altered, a link, or not among ``hashes``.
    """
    for name in (place.name, *hashes):
        if not is_plain(name):
            raise UserError(f"{place.parent}: its bundle.json names {name!r}, which is no plain name of a file")
    if place.is_symlink():
        raise UserError(f"{place} is a link: copy the files of the export themselves")
    found = {name: _checked(place / name, expected) for name, expected in hashes.items()}
    if extra := sorted(path.name for path in place.iterdir() if path.name not in {*hashes, *BESIDE}):
        raise UserError(f"{place} holds {', '.join(extra[:5])}, which bundle.json does not name: move it away")
    return found


def is_plain(name: object) -> bool:
    """Whether ``name`` names a file in the folder itself.

    >>> [is_plain(name) for name in ("rows.npy", "../rows.npy", "/etc/passwd", "..", "", 7)]
    [True, False, False, False, False, False]
    """
    return isinstance(name, str) and bool(_PLAIN.fullmatch(name))


def read_file(path: Path) -> tuple[np.ndarray, str]:
    """The bytes of a regular file, uint8, at an address that is a multiple of 64, and their SHA-256.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    digest, at = hashlib.sha256(), 0
    with os.fdopen(os.open(path, _FLAGS), "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is no regular file")
        memory = _aligned(status.st_size)
        view = memoryview(memory)
        while read := file.readinto(view[at : at + _CHUNK]):
            digest.update(view[at : at + read])  # of the copy: the file may change between two reads
            at += read
    return memory[:at], digest.hexdigest()


def _checked(path: Path, expected: str) -> np.ndarray:
    try:
        memory, found = read_file(path)
    except OSError:
        found = ""
    if found != expected:
        raise UserError(f"{path} is missing or damaged: export the workdir again")
    return memory


def _aligned(size: int) -> np.ndarray:
    raw = np.empty(size + _ALIGNED, np.uint8)
    start = -raw.ctypes.data % _ALIGNED
    return raw[start : start + size]
