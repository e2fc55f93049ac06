"""One run in a workdir: a second one is refused, and told by whom.

The lock is a file that names its owner, held open and locked: the kernel lets it go when the owner ends, however it
ends. File systems that several machines share may not tell one machine of another's locks. There the owner shows that
it lives by touching the file, and whoever finds the file of another host watches it for a while.
"""

import contextlib
import datetime
import fcntl
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rexjax.errors import UserError
from rexjax.runtime import processes
from rexjax.runtime.progress import notice

NAME = "lock.json"
BEAT = 5.0
"""Seconds between two touches."""
SILENCE = 30.0
"""An owner on another host that has not touched its file for so long is dead."""

_held: set[Path] = set()
"""What this process holds already: a sweep runs stages of its own."""


@contextlib.contextmanager
def of(workdir: Path) -> Iterator[None]:
    """Holds ``workdir`` for this run; the first of several processes holds it for all.

    Raises:
        UserError: another run holds it; its owner and age are named.
    """
    path = workdir.absolute() / NAME
    if path in _held:
        yield
        return
    release, refusal = None, None
    with processes.in_turn("lock"):  # a collective would not wait for as long as the first one may have to watch
        if processes.first():
            try:
                release = _take(path)
            except UserError as error:
                refusal = error
    if not processes.everywhere(refusal is None):
        raise refusal or UserError(f"{workdir} is in use by another run: the first process says by which")
    _held.add(path)
    try:
        yield
    finally:
        _held.remove(path)
        if release:
            release()


def _take(path: Path) -> Callable[[], None]:
    """Takes the lock; what is returned lets it go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _refuse_if_alive(file, path)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return _own(file, path)
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its owner removed it meanwhile


def _refuse_if_alive(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        known = True
    except BlockingIOError:
        raise UserError(_refusal(path)) from None
    except OSError:  # no locks in this file system
        known = False
    owner = _owner(path)
    if owner and not (known and owner.get("host") == socket.gethostname()) and not _silent(path):
        raise UserError(_refusal(path))


def _own(file: int, path: Path) -> Callable[[], None]:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "command": command, "since": time.time()}
    os.truncate(file, 0)
    os.pwrite(file, json.dumps(owner).encode(), 0)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            os.utime(file)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()

    def release() -> None:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)
        os.close(file)

    return release


def _silent(path: Path) -> bool:
    """Whether the owner, of whom the kernel knows nothing, gives no sign of life."""
    notice(f"{path} was left on another host: watching for {SILENCE:g} s whether its owner lives")
    before, until = _touched(path), time.monotonic() + SILENCE
    while time.monotonic() < until:
        time.sleep(min(1.0, SILENCE / 10))
        if _touched(path) != before:
            return False
    return True


def _touched(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _owner(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _refusal(path: Path) -> str:
    owner = _owner(path)
    by = "another run"
    if owner:
        age = datetime.timedelta(seconds=round(time.time() - owner["since"]))
        by = f"{owner['command']!r} (process {owner['pid']} on {owner['host']}, for {age} now)"
    return f"{path.parent} is in use by {by}: wait for it, stop it, or choose another --workdir"
