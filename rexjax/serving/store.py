"""Users' histories in one SQLite file, kept by events. What it knows of a user's name is a keyed hash.

A file that is locked, full, damaged or gone costs a call ``BUSY_SECONDS`` at most; for ``REST_SECONDS`` after a failure
nothing is asked of it, and then it is opened again. Nothing of it runs on the event loop.
"""

import asyncio
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rexjax.errors import UserError

BUSY_SECONDS, REST_SECONDS = 0.25, 2.0
KEPT = 1000
"""Events that are kept of each user, the latest."""
WAITING = 256
"""Calls that may wait; more are refused at once."""
DAYS = 365.0
"""Age in days at which an event is dropped."""
_T = TypeVar("_T")


class Unavailable(Exception):
    """The store cannot answer now."""


class Store:
    """Appends events and reads the latest ones; safe to share between threads, and between processes by its file."""

    def __init__(self, path: Path | str = ":memory:", days: float = DAYS) -> None:
        """Opens or makes the file; events older than ``days`` are dropped.

        Raises:
            UserError: it is no store, or cannot be written.
        """
        self._path, self._days = path, days
        self._lock = threading.Lock()
        self._until = 0.0  # when it is asked again after a failure
        self._threads = ThreadPoolExecutor(1, "store")
        self._waiting = 0
        try:
            self._file = self._open()
        except sqlite3.Error as error:
            raise UserError(f"{path} cannot be used as a store of histories: {error}") from error

    def append(self, user: str, items: list[str]) -> None:
        """Adds events, oldest first; they are on disk when this returns.

        Raises:
            Unavailable: they are not kept.
        """

        def write(file: sqlite3.Connection) -> None:
            key, now = self._hash(user), time.time()
            file.executemany("INSERT INTO events VALUES (?, ?, ?)", [(key, item, now) for item in items])
            oldest = "SELECT rowid FROM events WHERE user = ? ORDER BY rowid DESC LIMIT -1 OFFSET ?"
            file.execute(f"DELETE FROM events WHERE rowid IN ({oldest})", (key, KEPT))

        self._do(write)

    def history(self, user: str, length: int) -> list[str]:
        """The last ``length`` items of a user, latest last; empty for one who is not known.

        Raises:
            Unavailable: it cannot be read.
        """
        since = time.time() - 86400 * self._days
        found = self._do(
            lambda file: file.execute(
                "SELECT item FROM events WHERE user = ? AND time >= ? ORDER BY rowid DESC LIMIT ?",
                (self._hash(user), since, length),
            ).fetchall()
        )
        return [item for (item,) in reversed(found)]

    def events(self, user: str) -> list[tuple[str, float]]:
        """All that is kept of a user: item and time in seconds since 1970, oldest first.

        Raises:
            Unavailable: it cannot be read.
        """
        query = "SELECT item, time FROM events WHERE user = ? ORDER BY rowid"
        return self._do(lambda file: file.execute(query, (self._hash(user),)).fetchall())

    def erase(self, user: str) -> int:
        """Removes all events of a user; how many there were.

        Raises:
            Unavailable: they are still there.
        """
        return self._do(lambda file: file.execute("DELETE FROM events WHERE user = ?", (self._hash(user),)).rowcount)

    def expire(self) -> int:
        """Removes events that are too old; how many.

        Raises:
            Unavailable: they are still there.
        """
        before = time.time() - 86400 * self._days
        return self._do(lambda file: file.execute("DELETE FROM events WHERE time < ?", (before,)).rowcount)

    async def apart(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """Awaits ``call``, a method of this store, on the store's own thread.

        Raises:
            Unavailable: it cannot answer, or too many calls wait.
        """
        if self._waiting >= WAITING or self.resting:
            raise Unavailable("the store of histories does not answer")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        finally:
            self._waiting -= 1

    @property
    def resting(self) -> bool:
        """It failed a moment ago, and nothing is asked of it."""
        return time.monotonic() < self._until

    def close(self) -> None:
        """Closes the file."""
        self._threads.shutdown(cancel_futures=True)
        with self._lock:
            self._file.close()

    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self.resting:
            raise Unavailable("the store of histories does not answer")
        with self._lock:
            try:
                if self._until:  # it failed: another file may lie there
                    self._file.close()
                    self._file, self._until = self._open(), 0.0
                with self._file:
                    return work(self._file)
            except sqlite3.Error as error:
                self._until = time.monotonic() + REST_SECONDS
                raise Unavailable(f"the store of histories does not answer: {error}") from error

    def _open(self) -> sqlite3.Connection:
        file = sqlite3.connect(self._path, check_same_thread=False, timeout=BUSY_SECONDS)
        with file:
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=FULL")
            file.execute("CREATE TABLE IF NOT EXISTS salt (value BLOB NOT NULL)")
            file.execute("CREATE TABLE IF NOT EXISTS events (user BLOB NOT NULL, item TEXT NOT NULL, time REAL)")
            if "time" not in {row[1] for row in file.execute("PRAGMA table_info(events)")}:  # of an earlier version
                file.execute("ALTER TABLE events ADD COLUMN time REAL")
                file.execute("UPDATE events SET time = ?", (time.time(),))
            file.execute("CREATE INDEX IF NOT EXISTS of_user ON events (user)")
            file.execute("INSERT INTO salt SELECT ? WHERE NOT EXISTS (SELECT 1 FROM salt)", (os.urandom(16),))
        (self._salt,) = file.execute("SELECT value FROM salt").fetchone()
        return file

    def _hash(self, user: str) -> bytes:
        return hashlib.blake2b(user.encode(), key=self._salt, digest_size=16).digest()
