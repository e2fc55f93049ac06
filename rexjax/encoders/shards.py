"""Shards of vectors that any number of workers fill: processes of one machine, or hosts that see one folder.

A shard is ``shard-00000.npy`` with a ``.json`` beside it that holds the hash of the file and of what it was made from.
Whoever finds one missing, damaged or made from something else claims it, makes it and puts it in place as a whole.
Claims only save work: should two workers make the same shard, the second one replaces it by its equal.
"""

import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rexjax.artifacts.lease import is_running

STALE_AFTER = 900.0
"""Seconds after which a claim of another host counts no more; those of dead processes on this host never do."""
_LOOK_AGAIN = 1.0


class Shard(NamedTuple):
    """One shard's place, and what it is to be made from."""

    path: Path
    key: str
    """Hash of all that its vectors depend on."""


def digest(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def read(shard: Shard) -> np.ndarray | None:
    """The finished shard, or None where it is missing, damaged, or made from something else."""
    try:
        note = json.loads(shard.path.with_suffix(".json").read_text())
        if note != {"key": shard.key, "sha256": hashlib.sha256(shard.path.read_bytes()).hexdigest()}:
            return None
        return np.load(shard.path, allow_pickle=False)
    except (OSError, ValueError):
        return None


def write(shard: Shard, vectors: np.ndarray) -> None:
    """Array first, note last: what has a note that fits is whole."""
    temporary = shard.path.with_name(f"{shard.path.stem}-{uuid.uuid4().hex}.tmp")  # another worker may write it too
    with temporary.open("wb") as file:
        np.save(file, vectors)
    found = hashlib.sha256(temporary.read_bytes()).hexdigest()
    os.replace(temporary, shard.path)
    temporary.write_text(json.dumps({"key": shard.key, "sha256": found}))
    os.replace(temporary, shard.path.with_suffix(".json"))


def to_do(shards: Sequence[Shard]) -> Iterator[int]:
    """Numbers of the shards that this worker is to make, one after another, until all are there.

    A shard that another worker has claimed is waited for; it comes up here if that worker dies.
    """
    missing = [number for number, shard in enumerate(shards) if read(shard) is None]
    while missing:
        for number in missing:
            claim = shards[number].path.with_suffix(".claim")
            if not claim_shard(claim):
                continue
            try:
                if read(shards[number]) is None:  # it may have come since
                    yield number
            finally:
                claim.unlink(missing_ok=True)
        missing = [number for number in missing if read(shards[number]) is None]
        if missing:
            time.sleep(_LOOK_AGAIN)


def claim_shard(path: Path) -> bool:
    """Tries to claim a shard for this process.

    Args:
      path: of the claim, ``shard-00000.claim``. It is written as JSON with this host and process.

    Returns:
      Whether the claim is ours now. A claim of a living owner, or one that another worker wrote meanwhile, is left.
    """
    if path.exists():
        if _is_alive(path):
            return False
        path.unlink(missing_ok=True)  # never where there was none: another may have put his there since
    try:
        with path.open("x", encoding="utf-8") as file:  # fails where somebody was faster
            json.dump({"host": socket.gethostname(), "process": os.getpid()}, file)
    except FileExistsError:
        return False
    return True


def _is_alive(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        owner = json.loads(path.read_text(encoding="utf-8"))
        host, process = owner["host"], owner["process"]
    except FileNotFoundError:
        return False
    except (ValueError, KeyError):  # just being written, or cut off
        return age < _LOOK_AGAIN
    if host != socket.gethostname():
        return age < STALE_AFTER
    return process != os.getpid() and is_running(process)
