"""Users' histories, kept by events. Where they lie, a backend knows: one SQLite file, or Redis.

A backend that is locked, full, damaged or gone costs a call a moment; for ``REST_SECONDS`` after a failure nothing is
asked of it, and then it is opened again. Nothing of it runs on the event loop.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from rexjax.serving.user_ids import UserIds

BUSY_SECONDS, REST_SECONDS = 0.25, 2.0
KEPT = 1000
"""Events that are kept of each user, the latest."""
WAITING = 256
"""Calls that may wait; more are refused at once."""
DAYS = 365.0
"""Age in days at which an event is dropped."""
_SILENT = "the store of histories does not answer"
_T = TypeVar("_T")


class Unavailable(Exception):
    """The store cannot answer now."""


class Failed(Exception):
    """What a backend raises where it cannot answer."""

    @classmethod
    @contextlib.contextmanager
    def instead_of(cls, *errors: type[Exception]) -> Iterator[None]:
        """Within it these errors become this one."""
        try:
            yield
        except errors as error:
            raise cls(str(error) or type(error).__name__) from error


class Backend(Protocol):
    """Where events lie. Every method raises ``Failed`` where it cannot answer; one thread calls at a time.

    A user has several ids, one for each key (``UserIds``): events are added under the first one, and those of all of
    them are the user's.
    """

    def marks(self, add: str | None = None) -> set[str]:
        """Names of the keys that its ids were made with; ``add`` becomes one of them."""

    def append(self, ids: list[bytes], items: list[str], now: float, since: float) -> None:
        """Adds events, oldest first, and drops those beyond ``KEPT``; those before ``since`` may go."""

    def latest(self, ids: list[bytes], count: int, since: float) -> list[tuple[str, float]]:
        """The last ``count`` events from ``since`` on: item and time in seconds since 1970, oldest first."""

    def erase(self, ids: list[bytes]) -> int:
        """Removes all events of a user; how many there were."""

    def expire(self, before: float) -> int:
        """Removes all events that are older; how many."""

    def close(self) -> None:
        """Lets go of files and connections."""


class Store:
    """Appends events and reads the latest ones; safe to share between threads."""

    def __init__(self, connect: Callable[[], Backend], ids: UserIds, days: float = DAYS) -> None:
        """Events older than ``days`` are dropped. ``connect`` is called again after a failure.

        Raises:
            Failed: it does not answer.
        """
        self._connect, self.ids, self._days = connect, ids, days
        self._lock = threading.Lock()
        self._until = 0.0  # when it is asked again after a failure
        self._threads = ThreadPoolExecutor(1, "store")
        self._waiting = 0
        self._backend = connect()

    def append(self, user: str, items: list[str], tenant: str = "") -> None:
        """Adds events, oldest first; they are stored when this returns.

        Raises:
            Unavailable: they are not kept.
        """
        now = time.time()
        self._do(lambda backend: backend.append(self.ids.of(user, tenant), items, now, self._since()))

    def history(self, user: str, length: int, tenant: str = "") -> list[str]:
        """The last ``length`` items of a user, latest last; empty for one who is not known.

        Raises:
            Unavailable: it cannot be read.
        """
        return [item for item, _ in self.events(user, tenant, length)]

    def events(self, user: str, tenant: str = "", count: int = KEPT) -> list[tuple[str, float]]:
        """The latest events that are kept of a user: item and time in seconds since 1970, oldest first.

        Raises:
            Unavailable: it cannot be read.
        """
        return self._do(lambda backend: backend.latest(self.ids.of(user, tenant), count, self._since()))

    def erase(self, user: str, tenant: str = "") -> int:
        """Removes all events of a user; how many there were.

        Raises:
            Unavailable: they are still there.
        """
        return self._do(lambda backend: backend.erase(self.ids.of(user, tenant)))

    def expire(self) -> int:
        """Removes events that are too old; how many.

        Raises:
            Unavailable: they are still there.
        """
        return self._do(lambda backend: backend.expire(self._since()))

    async def apart(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """Awaits ``call``, a method of this store, on the store's own thread.

        Raises:
            Unavailable: it cannot answer, or too many calls wait.
        """
        if self._waiting >= WAITING or self.resting:
            raise Unavailable(_SILENT)
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
        """Lets go of the backend."""
        self._threads.shutdown(cancel_futures=True)
        with self._lock:
            self._backend.close()

    def _since(self) -> float:
        return time.time() - 86400 * self._days

    def _do(self, work: Callable[[Backend], _T]) -> _T:
        if self.resting:
            raise Unavailable(_SILENT)
        with self._lock:
            try:
                if self._until:  # it failed: another file may lie there
                    self._backend.close()
                    self._backend, self._until = self._connect(), 0.0
                return work(self._backend)
            except Failed as error:
                self._until = time.monotonic() + REST_SECONDS
                raise Unavailable(f"{_SILENT}: {error}") from error
