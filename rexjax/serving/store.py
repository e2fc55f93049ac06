"""Users' histories in one SQLite file, kept by events. What it knows of a user's name is a salted hash."""

import hashlib
import os
import sqlite3
import threading
from pathlib import Path

from rexjax.errors import UserError


class Store:
    """Appends events and reads the latest ones; safe to share between threads, and between processes by its file."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        """Opens or makes the file.

        Raises:
            UserError: it is no store, or cannot be written.
        """
        self._lock = threading.Lock()
        try:
            self._file = sqlite3.connect(path, check_same_thread=False, timeout=10)
            with self._file:
                self._file.execute("PRAGMA journal_mode=WAL")
                self._file.execute("PRAGMA synchronous=NORMAL")
                self._file.execute("CREATE TABLE IF NOT EXISTS salt (value BLOB NOT NULL)")
                self._file.execute("CREATE TABLE IF NOT EXISTS events (user BLOB NOT NULL, item TEXT NOT NULL)")
                self._file.execute("CREATE INDEX IF NOT EXISTS of_user ON events (user)")
                self._file.execute("INSERT INTO salt SELECT ? WHERE NOT EXISTS (SELECT 1 FROM salt)", (os.urandom(16),))
            (self._salt,) = self._file.execute("SELECT value FROM salt").fetchone()
        except sqlite3.Error as error:
            raise UserError(f"{path} cannot be used as a store of histories: {error}") from error

    def append(self, user: str, items: list[str]) -> None:
        """Adds events, oldest first; they are on disk when this returns."""
        with self._lock, self._file:
            self._file.executemany("INSERT INTO events VALUES (?, ?)", [(self._hash(user), item) for item in items])

    def history(self, user: str, length: int) -> list[str]:
        """The last ``length`` items of a user, latest last; empty for one who is not known."""
        with self._lock:
            found = self._file.execute(
                "SELECT item FROM events WHERE user = ? ORDER BY rowid DESC LIMIT ?", (self._hash(user), length)
            ).fetchall()
        return [item for (item,) in reversed(found)]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._file.close()

    def _hash(self, user: str) -> bytes:
        return hashlib.blake2b(user.encode(), key=self._salt, digest_size=16).digest()
