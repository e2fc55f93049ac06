"""An open-loop load: requests start on schedule, whether or not those before have been answered.

So a server that stands still for a second is seen by all who came in that second, not by one connection each. A request
takes a connection that is idle, or a new one. ``python -m benchmarks.open_load PORT RATE SECONDS FILE [HEADER …]``
writes arrays, one entry a request: when it was due (``time.monotonic``), seconds from then to the answer, its outcome
and version.
"""

import asyncio
import sys
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvloop

from benchmarks import record
from benchmarks.serving import request

PATIENCE = 30.0
"""Seconds after which no answer is awaited any more."""
OK = "200"
ANSWERS = 10


class Load:
    """What was sent, and what came of it."""

    def __init__(self, port: int, *headers: str) -> None:
        self.port, self.headers = port, headers
        self.idle: list[_Connection] = []
        self.waiting: set[_Connection] = set()
        self.due, self.seconds = array("d"), array("d")
        self.outcome, self.version = array("H"), array("H")
        self.names: dict[str, int] = {}

    async def run(self, rate: float, seconds: float) -> None:
        """Sends for ``seconds``, and waits for the last answers."""
        bodies = [request(np.random.default_rng(seed), *self.headers) for seed in range(500)]
        begin, opening = time.monotonic() + 0.5, set()
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            while (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            if self.idle:
                self.idle.pop().send(due, bodies[number % len(bodies)])
            else:
                opening.add(task := asyncio.create_task(self._open(due, bodies[number % len(bodies)])))
                task.add_done_callback(opening.discard)
        limit = time.monotonic() + PATIENCE
        while (self.waiting or opening) and time.monotonic() < limit:
            await asyncio.sleep(0.01)
        for connection in list(self.waiting):
            connection.end("no answer")

    async def _open(self, due: float, body: bytes) -> None:
        try:
            _, found = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self), "127.0.0.1", self.port
            )
        except OSError as error:
            self.note(due, f"no connection: {error.strerror}")
        else:
            found.send(due, body)

    def note(self, due: float, outcome: str, version: str = "") -> None:
        """One request has come to its end."""
        self.due.append(due)
        self.seconds.append(time.monotonic() - due)
        self.outcome.append(self.names.setdefault(outcome, len(self.names)))
        self.version.append(self.names.setdefault(version, len(self.names)))

    def write(self, path: Path) -> None:
        """All of it; ``outcome`` and ``version`` are places in ``names``."""
        arrays = {name: np.asarray(getattr(self, name)) for name in ("due", "seconds", "outcome", "version")}
        np.savez(path, names=np.asarray(list(self.names)), **arrays)


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: Load) -> None:
        self._load, self._due, self._answer = load, 0.0, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, due: float, body: bytes) -> None:
        """Idle connections only."""
        self._due = due
        self._load.waiting.add(self)
        self._transport.write(body)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or self not in self._load.waiting:
            return
        head = head.lower()
        _, found, length = head.partition(b"content-length:")
        if not found:
            self.end("an answer without its length")
            self._transport.abort()
        elif len(body) >= int(length.split(b"\r\n")[0]):
            status = head[9:12].decode()
            whole = status != OK or body.count(b'"id":') == ANSWERS
            self._answer.clear()
            self.end(status if whole else "a short answer", bytes(body).rpartition(b'"version":"')[2][:12].decode())
            if b"connection: close" not in head:
                self._load.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._load.waiting:
            self.end("connection lost")
        elif self in self._load.idle:
            self._load.idle.remove(self)

    def end(self, outcome: str, version: str = "") -> None:
        """Of the request that waits."""
        self._load.waiting.discard(self)
        self._load.note(self._due, outcome, version if outcome == OK else "")


class Answers(NamedTuple):
    """One entry a request, in each."""

    due: np.ndarray
    end: np.ndarray
    outcome: np.ndarray
    version: np.ndarray
    """Empty where it failed."""

    def failed(self, flying: tuple[float, float]) -> list[dict[str, Any]]:
        """How many, of those that were on their way between two times and of the others."""
        failed = self.outcome != OK
        there = (self.due <= flying[1]) & (self.end >= flying[0])
        rows = [record.row("requests", "", len(failed)), record.row("in flight at the kill", "", int(there.sum()))]
        for name, which in (("in flight at the kill", failed & there), ("others", failed & ~there)):
            kinds = dict(Counter(self.outcome[which].tolist()))
            rows.append(
                record.row(
                    f"failed, {name}",
                    "",
                    int(which.sum()),
                    kinds=kinds,
                    at=(self.due[which][:20] - self.due.min()).tolist(),
                )
            )
        return rows

    def latency(self, name: str, begin: float = -np.inf, end: float = np.inf) -> dict[str, Any]:
        """Milliseconds from when requests were due, of those due between two times."""
        spent = 1e3 * (self.end - self.due)[(self.due >= begin) & (self.due < end)]
        p50, p99 = np.percentile(spent, (50, 99)).tolist()
        return {
            "case": f"latency, {name}",
            "requests": len(spent),
            "p50_ms": p50,
            "p99_ms": p99,
            "max_ms": float(spent.max()),
        }

    def swapped(self, name: str, begin: float, end: float, new: str) -> dict[str, Any]:
        """Seconds from a swap until the new index answered first, and the old one last."""
        there = (self.outcome == OK) & (self.end >= begin) & (self.end < end)
        new, old = (self.end[there & which] - begin for which in (self.version == new, self.version != new))
        first, last = float(new.min()) if len(new) else None, float(old.max()) if len(old) else None
        counts = Counter(self.version[there].tolist())
        return record.row(
            f"{name}, until the old index has answered last", "s", last, first_new=first, answers=dict(counts)
        )


def read(path: Path) -> Answers:
    """What ``write`` has left."""
    load = np.load(path)
    outcome, version = (load["names"][load[name]] for name in ("outcome", "version"))
    return Answers(load["due"], load["due"] + load["seconds"], outcome, version)


def main(port: str, rate: str, seconds: str, path: str, *headers: str) -> None:
    """As the module says."""
    load = Load(int(port), *headers)
    uvloop.run(load.run(float(rate), float(seconds)))
    load.write(Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
