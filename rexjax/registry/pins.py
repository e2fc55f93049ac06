"""Pins: who reads a version now, so that its files are not removed meanwhile."""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from rexjax.artifacts import lease
from rexjax.artifacts.files import read_json, write_json
from rexjax.registry import disk

FOLDER = "pins"
BEAT = 3600.0
"""Seconds between two signs of life of a pin."""
SILENCE = 24 * BEAT
"""A pin of another machine that has given no sign of life for so long is dead."""


@contextlib.contextmanager
def hold(registry: Path, version: str) -> Iterator[None]:
    """Pins a version while the body runs."""
    path = registry / FOLDER / version / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
    about = lease.new(0)
    _write(path, about)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(path, about, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        disk.remove(path)


def held(registry: Path) -> set[str]:
    """Ids of the versions that somebody reads; pins of processes that have ended are removed."""
    found = set()
    for folder in disk.folders(registry / FOLDER):
        for path in folder.glob("*.json"):
            if _is_dead(path):
                disk.remove(path)
            else:
                found.add(folder.name)
    return found


def _is_dead(path: Path) -> bool:
    about = read_json(path)
    return bool(about) and (lease.has_ended(about, locked=False) or time.time() - about["beat"] > SILENCE)


def _beat(path: Path, about: dict[str, object], ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            _write(path, about)


def _write(path: Path, about: dict[str, object]) -> None:
    write_json(path, about | {"beat": time.time()})
