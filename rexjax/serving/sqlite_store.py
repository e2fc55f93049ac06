"""Histories in one SQLite file, for one machine."""

import os
import sqlite3
import time
from pathlib import Path

from rexjax.serving.store import BUSY_SECONDS, KEPT, Failed

_SELECT = "SELECT item, time FROM events WHERE user IN ({marks}) AND time >= ? ORDER BY rowid DESC LIMIT ?"


class Sqlite:
    """One connection; calls come from one thread at a time."""

    def __init__(self, path: Path | str) -> None:
        """Opens or makes the file.

        Raises:
            Failed: it is no store, or cannot be written.
        """
        with Failed.instead_of(sqlite3.Error, OSError):
            if path != ":memory:":  # for its owner alone; what SQLite puts beside it has the same mode
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file = sqlite3.connect(path, check_same_thread=False, timeout=BUSY_SECONDS)
            self._prepare()

    def _prepare(self) -> None:
        with self._file as file:
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=FULL")
            file.execute("PRAGMA secure_delete=ON")
            file.execute("CREATE TABLE IF NOT EXISTS events (user BLOB NOT NULL, item TEXT NOT NULL, time REAL)")
            if "time" not in {row[1] for row in file.execute("PRAGMA table_info(events)")}:  # of an earlier version
                file.execute("ALTER TABLE events ADD COLUMN time REAL")
                file.execute("UPDATE events SET time = ?", (time.time(),))
            file.execute("CREATE INDEX IF NOT EXISTS of_user ON events (user)")
            file.execute("CREATE TABLE IF NOT EXISTS keys (mark TEXT PRIMARY KEY)")

    def legacy_key(self) -> bytes | None:
        """The key of the ids that an earlier version kept in the file itself."""
        with Failed.instead_of(sqlite3.Error), self._file as file:
            known = file.execute("SELECT 1 FROM sqlite_master WHERE name = 'salt'").fetchone()
            return file.execute("SELECT value FROM salt").fetchone()[0] if known else None

    def forget_legacy_key(self) -> None:
        """Removes that key from the file."""
        with Failed.instead_of(sqlite3.Error), self._file as file:
            file.execute("DROP TABLE IF EXISTS salt")

    def marks(self, add: str | None = None) -> set[str]:
        """Names of the keys that its ids were made with; ``add`` becomes one of them."""
        with Failed.instead_of(sqlite3.Error), self._file as file:
            if add:
                file.execute("INSERT OR IGNORE INTO keys VALUES (?)", (add,))
            return {mark for (mark,) in file.execute("SELECT mark FROM keys")}

    def append(self, ids: list[bytes], items: list[str], now: float, since: float) -> None:
        """Adds events of a user, oldest first; they are on disk when this returns."""
        with Failed.instead_of(sqlite3.Error), self._file as file:
            file.executemany("INSERT INTO events VALUES (?, ?, ?)", [(ids[0], item, now) for item in items])
            oldest = f"SELECT rowid FROM events WHERE user IN ({_marks(ids)}) ORDER BY rowid DESC LIMIT -1 OFFSET ?"
            file.execute(f"DELETE FROM events WHERE rowid IN ({oldest})", (*ids, KEPT))

    def latest(self, ids: list[bytes], count: int, since: float) -> list[tuple[str, float]]:
        """The last ``count`` events of a user from ``since`` on: item and time, oldest first."""
        with Failed.instead_of(sqlite3.Error):
            query = _SELECT.format(marks=_marks(ids))
            return self._file.execute(query, (*ids, since, count)).fetchall()[::-1]

    def erase(self, ids: list[bytes]) -> int:
        """Removes all events of a user; how many there were."""
        with Failed.instead_of(sqlite3.Error), self._file as file:
            return file.execute(f"DELETE FROM events WHERE user IN ({_marks(ids)})", ids).rowcount

    def expire(self, before: float) -> int:
        """Removes events that are older; how many."""
        with Failed.instead_of(sqlite3.Error), self._file as file:
            return file.execute("DELETE FROM events WHERE time < ?", (before,)).rowcount

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _marks(values: list[bytes]) -> str:
    return ", ".join("?" * len(values))
