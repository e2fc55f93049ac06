"""Histories in Redis, for replicas on several machines. A list of events for each user, which expires as a whole."""

import json
import math
import re

from rexjax.serving.redis_protocol import Connection
from rexjax.serving.store import BUSY_SECONDS, KEPT, Failed

PREFIX = b"rexjax:"
"""What its keys begin with."""
_ERRORS = (OSError, ValueError, EOFError)


class Redis:
    """One connection; calls come from one thread at a time."""

    def __init__(self, url: str) -> None:
        """Connects to ``redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]``, or ``rediss://`` for TLS.

        Raises:
            Failed: it does not answer.
        """
        with Failed.instead_of(*_ERRORS):
            self._connection = Connection(url, BUSY_SECONDS)

    def marks(self, add: str | None = None) -> set[str]:
        """Names of the keys that its ids were made with; ``add`` becomes one of them."""
        with Failed.instead_of(*_ERRORS):
            if add:
                self._connection.ask([(b"SADD", PREFIX + b"keys", add.encode())])
            return {mark.decode() for mark in self._connection.ask([(b"SMEMBERS", PREFIX + b"keys")])[0]}

    def append(self, ids: list[bytes], items: list[str], now: float, since: float) -> None:
        """Adds events of a user, oldest first, in one transaction; Redis has them when this returns."""
        key, seconds = _key(ids[0]), max(1, math.ceil(now - since))
        events = [json.dumps([item, now]).encode() for item in items]
        push = (b"RPUSH", key, *events), (b"LTRIM", key, b"%d" % -KEPT, b"-1"), (b"EXPIRE", key, b"%d" % seconds)
        with Failed.instead_of(*_ERRORS):
            self._connection.ask([(b"MULTI",), *push, (b"EXEC",)])

    def latest(self, ids: list[bytes], count: int, since: float) -> list[tuple[str, float]]:
        """The last ``count`` events of a user from ``since`` on: item and time, oldest first."""
        with Failed.instead_of(*_ERRORS):
            lists = self._connection.ask([(b"LRANGE", _key(name), b"%d" % -count, b"-1") for name in reversed(ids)])
            events = [(item, time) for events in lists for item, time in map(json.loads, events)]
        return [event for event in events if event[1] >= since][-count:]

    def erase(self, ids: list[bytes]) -> int:
        """Removes all events of a user; how many there were."""
        keys = [_key(name) for name in ids]
        with Failed.instead_of(*_ERRORS):
            asked = [(b"MULTI",), *((b"LLEN", key) for key in keys), (b"DEL", *keys), (b"EXEC",)]
            return sum(self._connection.ask(asked)[-1][:-1])

    def expire(self, before: float) -> int:
        """Removes events that are older, of users who have newer ones; how many. Redis itself removes the others."""
        removed, cursor = 0, b"0"
        with Failed.instead_of(*_ERRORS):
            while True:
                [(cursor, keys)] = self._connection.ask(
                    [(b"SCAN", cursor, b"MATCH", PREFIX + b"u:*", b"COUNT", b"256")]
                )
                removed += sum(self._trim(key, before) for key in keys)
                if cursor == b"0":
                    return removed

    def _trim(self, key: bytes, before: float) -> int:
        [events] = self._connection.ask([(b"LRANGE", key, b"0", b"-1")])
        old = sum(json.loads(event)[1] < before for event in events)  # those are the first
        if old:
            self._connection.ask([(b"LTRIM", key, b"%d" % old, b"-1")])
        return old

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


def _key(name: bytes) -> bytes:
    return PREFIX + b"u:" + name.hex().encode()


def is_url(store: object) -> bool:
    """Whether ``store`` names a Redis server."""
    return bool(re.match(r"rediss?://", str(store)))
