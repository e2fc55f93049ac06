"""Several processes watch each other, so that one that is gone or stopped for good ends all, and does not hang them.

Each process beats: a thread counts up a value of its own on JAX's coordination service, which the first process runs.
The first process looks at the beats of all others, and they look at its beat; so the work grows with the number of
processes, not with its square. A process that prepares, encodes or compiles for hours beats all the while. What one
process learns it tells the others there too. Silence is counted in this process's own looks, so that one that was held
up itself blames nobody.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from rexjax.errors import UserError
from rexjax.runtime.cluster.join import RESTART, Joined, end
from rexjax.runtime.cluster.key_value_store import Board

LIMIT = "REXJAX_PEER_SECONDS"
"""Environment variable: a process that was silent for so many seconds is gone."""
SECONDS = 60.0
"""Where the variable is not set."""
BEAT_SECONDS = 1.0
"""Between two beats, or a tenth of the limit if that is less."""
DOUBT_BEATS = 6
"""Silence of a process that is gone, when something else has already gone wrong."""
NOTICE_BEATS = 3
"""So long does a process that ends wait, that the others may read why."""
STOP_SECONDS = 20.0
"""So long does a process that was asked to stop wait for the others to stop too."""
LEAVE_SECONDS = 7 * 24 * 3600
"""Likewise when it is done; one that dies meanwhile ends all."""

_SHARED, _BEATS = "rexjax/shared", "rexjax/beats"
_FIRST, _TOLD, _DOUBT = f"{_SHARED}/first", f"{_SHARED}/told", f"{_SHARED}/doubt"


class Told(NamedTuple):
    """Why all end."""

    code: int
    """With which exit code."""
    sentence: str


def limit() -> float:
    """Seconds after which a silent process counts as gone."""
    value = os.environ.get(LIMIT, "") or str(SECONDS)
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < float("inf"):
        raise UserError(f"{LIMIT}={value} must be a number of seconds, 1 or more")
    return seconds


class Watch:
    """Beats, looks and ends this process with one sentence when another one is gone."""

    def __init__(self, board: Board, joined: Joined, seconds: float):
        self._board, self._place, self._relay = board, joined.place, joined.relay
        self._first, self._limit, self._beat = joined.place.index == 0, seconds, min(BEAT_SECONDS, seconds / 10)
        peers = range(1, joined.place.count) if self._first else (0,)
        self._peers = {f"{_BEATS}/{i}" if i else _FIRST: i for i in peers}
        self._silent = dict.fromkeys(self._peers, 0)
        self._heard: dict[str, str] = {}
        self._looked: Mapping[str, str] = {}
        self._count, self._over = 0, threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._exchange, self._judge)]

    def begin(self) -> None:
        """Beats once, so that the others know its host, and then beats and looks in threads."""
        self._say()
        for thread in self._threads:
            thread.start()

    def doubt(self) -> None:
        """This process met an error that may come of another one's end: where one is silent, this does not return."""
        self._briefly(lambda: self._board.key_value_set(_DOUBT, "1", allow_overwrite=True))
        self._doubted()
        time.sleep((DOUBT_BEATS + 2 * NOTICE_BEATS) * self._beat)  # the other thread ends this process meanwhile

    def tell(self, code: int, sentence: str) -> None:
        """All others end with this exit code, and say why."""
        self._post(Told(code, f"{_name(self._place.index, socket.gethostname())} {sentence}"))

    def _post(self, told: Told) -> None:
        self._over.set()
        # who tells first is right: others may follow from it
        self._briefly(lambda: self._board.key_value_set(_TOLD, json.dumps(told)))
        if self._first:
            time.sleep(NOTICE_BEATS * self._beat)

    def leave(self, seconds: float = LEAVE_SECONDS) -> bool:
        """Returns when all processes are here, and this one no longer watches; False: they did not come in time."""
        try:
            self._board.wait_at_barrier("rexjax/leave", int(1000 * seconds))
        except Exception:  # jaxlib's, of many kinds
            return False
        self._over.set()
        self._threads[0].join()
        return True

    def _briefly(self, write: Callable[[], None]) -> None:
        """Writes, but does not wait for ever: the process that holds the board may be the one that is stopped."""

        def run() -> None:
            with contextlib.suppress(Exception):  # the board is gone, or holds the key
                write()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(NOTICE_BEATS * self._beat)

    def _say(self) -> None:
        mine = _FIRST if self._first else f"{_BEATS}/{self._place.index}"
        self._count += 1
        self._board.key_value_set(mine, f"{self._count} {socket.gethostname()}", allow_overwrite=True)

    def _exchange(self) -> None:
        while not self._over.wait(self._beat):
            with contextlib.suppress(Exception):  # no answer is silence, which the other thread counts
                self._say()
                heard = dict(self._board.key_value_dir_get(_SHARED))
                self._heard = heard | (dict(self._board.key_value_dir_get(_BEATS)) if self._first else {})

    def _judge(self) -> None:
        while not self._over.wait(self._beat):
            if told := self.look(self._heard):
                if self._first:
                    self._post(told)
                end(*told)

    def look(self, heard: Mapping[str, str]) -> Told | None:
        """One look at what was heard.

        Args:
            heard: key to value of the board, as the last exchange read them.

        Returns:
            Why this process must end, or None.
        """
        if _TOLD in heard:
            if self._over.wait(NOTICE_BEATS * self._beat):  # this process says the same itself
                return None
            code, sentence = json.loads(heard[_TOLD])
            return Told(code, f"{sentence}; process {self._place.index} ends with it")
        if _DOUBT in heard:
            self._doubted()
        for key in self._peers:
            self._silent[key] = self._silent[key] + 1 if heard.get(key) == self._looked.get(key) else 0
        self._looked = heard
        lost = self._relay is not None and self._relay.lost.is_set()
        gone = [key for key in self._peers if lost or self._silent[key] * self._beat >= self._limit]
        return Told(RESTART, self._sentence(gone, lost)) if gone else None

    def _doubted(self) -> None:
        self._limit = min(self._limit, DOUBT_BEATS * self._beat)

    def _sentence(self, gone: list[str], lost: bool) -> str:
        hosts = [self._looked.get(key, "").partition(" ")[2] for key in gone]
        names = ", ".join(_name(self._peers[key], host) for key, host in zip(gone, hosts, strict=True))
        seconds = max(self._silent[key] for key in gone) * self._beat
        what = "closed its connection" if lost else f"gave no answer for {seconds:.0f} s"
        return f"{names} {what}: start all processes again, and the run goes on from its last checkpoint"


def _name(index: int, host: str) -> str:
    return f"process {index} on {host}" if host else f"process {index}"
