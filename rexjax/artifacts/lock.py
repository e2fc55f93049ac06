"""One run in a workdir: a second one is refused, and told by whom.

The kernel's lock on the folder is let go when the owner ends, however it ends. File systems that several machines share
may not tell one machine of another's locks, and buckets have none. There the lease counts (``rexjax.artifacts.lease``):
the owner writes it anew every few seconds, and whoever finds the lease of another machine watches it for a while. An
owner that slept for longer finds a greater token, and publishes nothing.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rexjax.artifacts import lease as leases
from rexjax.artifacts.versions import NOBODY, Owner
from rexjax.errors import UserError
from rexjax.runtime import processes
from rexjax.runtime.progress import notice

NAME = leases.NAME
BEAT = 5.0
"""Seconds between two signs of life."""
SILENCE = 30.0
"""An owner of whom nothing else is known and that has given no sign of life for so long is dead."""

_held: dict[Path, Owner] = {}
"""What this process holds already: a sweep runs stages of its own."""


@contextlib.contextmanager
def of(workdir: Path) -> Iterator[Owner]:
    """Holds ``workdir`` for this run; the first of several processes holds it for all.

    Raises:
        UserError: another run holds it; its owner and age are named. Or its lock is nothing that this project made.
    """
    path = workdir.absolute() / NAME
    if path in _held:
        yield _held[path]
        return
    held, refusal = None, None
    with processes.in_turn("lock"):  # a collective would not wait for as long as the first one may have to watch
        if processes.first():
            try:
                held = _Lock(path)
            except UserError as error:
                refusal = error
    if not processes.everywhere(refusal is None):
        raise refusal or UserError(f"{workdir} is in use by another run: see the message of process 0")
    _held[path] = held.owner if held else NOBODY
    try:
        yield _held[path]
    finally:
        del _held[path]
        if held:
            held.release()


class _Lock:
    """The lock of a folder, taken when it is made."""

    def __init__(self, path: Path) -> None:
        self._path, self._ended = path, threading.Event()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path.parent, os.O_RDONLY)
        try:
            locked = _lock_folder(self._file, path)
            self._lease, alone = _take(path, locked=locked)
        except BaseException:
            os.close(self._file)
            raise
        self.owner = Owner(self._lease["token"], alone, self.confirm)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError, UserError):  # confirm will say it, if it lasts
                if leases.read(self._path).get("token", 0) <= self._lease["token"]:
                    leases.write(self._path, self._lease)

    def confirm(self) -> None:
        """Raises UserError where another run has taken the folder."""
        lease = leases.read(self._path)
        if lease.get("token", 0) > self._lease["token"]:
            raise UserError(
                f"{self._path.parent} was taken over by {leases.describe(lease)}, because this run did not renew its "
                f"lease for {SILENCE:g} s: this run publishes nothing; start the same command again when the other run "
                "has ended"
            )
        if lease.get("token") != self._lease["token"]:
            leases.write(self._path, self._lease)

    def release(self) -> None:
        """Lets the folder go."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError, UserError):
            if leases.read(self._path).get("token") == self._lease["token"]:
                leases.write(self._path, self._lease | {"released": True})
        os.close(self._file)


def _lock_folder(file: int, path: Path) -> bool:
    """Whether this file system has locks, and this process has this one now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(_refusal(path, leases.read(path))) from None
    except OSError:  # no locks in this file system
        return False
    return True


def _take(path: Path, *, locked: bool) -> tuple[dict[str, Any], bool]:
    """Takes the lease; and whether the owner before is known to have ended."""
    before = leases.read(path)
    alone = leases.has_ended(before, locked=locked)
    if not alone:
        _watch(path, before)
    token = before.get("token", 0) + 1
    while not leases.claim(path, token):
        _watch(path, before)  # another takes it now, or died when it did
        token += 1
    if (now := leases.read(path)).get("token", 0) != before.get("token", 0):
        leases.drop_claims(path, token)
        raise UserError(_refusal(path, now))
    lease = leases.new(token)
    leases.write(path, lease)
    leases.drop_claims(path, token)
    return lease, alone


def _watch(path: Path, before: dict[str, Any]) -> None:
    """Refuses an owner that gives a sign of life within ``SILENCE``."""
    notice(f"{path} may be held by a run, perhaps on another host: watching for {SILENCE:g} s whether it lives")
    until = time.monotonic() + SILENCE
    while time.monotonic() < until:
        time.sleep(min(1.0, SILENCE / 10))
        if (now := leases.read(path)) != before:
            raise UserError(_refusal(path, now))


def _refusal(path: Path, lease: dict[str, Any]) -> str:
    owner = leases.describe(lease)
    return f"{path.parent} is in use by {owner}: wait for it, stop it, or choose another folder (--workdir)"
