"""What a connection may cost before its request is trusted: bytes and number of headers, seconds, connections.

Uvicorn's parser sets no bound on what comes before and after the body, and no time for it. A request here may have
``HEAD_BYTES`` of request line and headers, ``AROUND_BYTES`` of all that is no body, and ``REQUEST_SECONDS`` to come
whole. So many connections may be open that ``RESERVED`` files are left to the server, and a third of them to one
address.
"""

import asyncio
from collections import Counter
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rexjax.serving.messages import LARGEST
from rexjax.serving.metrics import Measures

HEAD_BYTES, HEADERS = 1 << 15, 100
"""Of request line and headers: bytes, and how many headers."""
AROUND_BYTES = HEAD_BYTES + 8 * LARGEST
"""Of a whole request without its body: small chunks have more bytes around them than in them, and trailers may
follow the last."""
REQUEST_SECONDS = 10.0
"""From a connection's or a request's first byte to the request's last."""
RESERVED = 64
"""Open files that are not for connections."""
_REFUSALS = {
    413: (b"Content Too Large", b"the request is too large"),
    408: (b"Request Timeout", b"the request has not come whole in time"),
    431: (b"Request Header Fields Too Large", b"the request line and the headers are too large"),
    429: (b"Too Many Requests", b"this address has too many connections"),
    503: (b"Service Unavailable", b"too many connections are open"),
}


class Room(NamedTuple):
    """How many connections may be open."""

    connections: int
    of_one_address: int


def room(files: int) -> Room:
    """Of a process that may open so many files."""
    found = max(8, files - RESERVED)
    return Room(found, max(4, found // 3))


def limited(allowed: Room, measures: Measures) -> type[HttpToolsProtocol]:
    """The protocol of a server; connections are counted for all of its kind together."""
    return type("Limited", (_Limited,), {"allowed": allowed, "measures": measures, "opened": Counter()})


class _Limited(HttpToolsProtocol):
    """Uvicorn's protocol with an end to what it reads."""

    allowed: Room
    measures: Measures
    opened: Counter[str]
    """Connections by address."""
    _requests = 0
    """That have begun."""
    _read = 0
    """Bytes of the request so far but those of its body, which the application bounds."""
    _bodies = 0
    """Bytes of bodies in the latest packet."""
    _head = True
    """Its head is not whole."""
    _whole = False
    """It has come whole."""
    _timer: asyncio.TimerHandle | None = None
    _address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuses a connection beyond the limits, and starts the timer of the others."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.opened[self._address] += 1
        if self.opened.total() > self.allowed.connections:
            self._refuse(503)
        elif self.opened[self._address] > self.allowed.of_one_address:
            self._refuse(429)
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Frees the connection's place."""
        self.opened[self._address] -= 1
        if self.opened[self._address] <= 0:
            del self.opened[self._address]
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses a packet, and refuses a request that is too large."""
        if self.transport.is_closing():
            return
        if self._whole and self._timer is None:
            self._wait()  # the next request has begun
        before, whole, self._bodies = self._requests, self._whole, 0
        super().data_received(data)
        begun = self._requests - before
        if (begun == 0 and not whole) or begun == 1:  # of more, none is longer than a packet
            self._read += len(data) - self._bodies
        if self._read > (HEAD_BYTES if self._head else AROUND_BYTES):
            self._refuse(431 if self._head else 413)

    def on_message_begin(self) -> None:
        """Starts counting for a new request."""
        self._requests += 1
        self._read, self._head, self._whole = 0, True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Limits the number and the size of headers and trailers."""
        super().on_header(name, value)
        if len(self.headers) > HEADERS or len(name) + len(value) > HEAD_BYTES:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """Calls the application, unless the request was refused."""
        self._head = False
        if len(self.url) > HEAD_BYTES:
            self._refuse(431)
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Passes a part of the body on, unless the request was refused."""
        self._bodies += len(body)
        if self.cycle is not None and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stops the timer: the request has come whole."""
        self._whole = True
        self._stop_waiting()
        if self.cycle is not None and not self.transport.is_closing():
            super().on_message_complete()

    def shutdown(self) -> None:
        """Closes connections whose request has not come whole."""
        if not self._whole:
            self.transport.close()
        super().shutdown()

    def _wait(self) -> None:
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._refuse, 408)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int) -> None:
        if self.transport.is_closing():
            return
        self._stop_waiting()
        self.measures.refused.labels(str(status)).inc()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_answer(status))
        self.transport.close()


def _answer(status: int) -> bytes:
    name, why = _REFUSALS[status]
    body = b'{"error":"%b"}' % why
    head: list[Any] = [b"HTTP/1.1 %d %b" % (status, name), b"content-type: application/json"]
    head += [b"content-length: %d" % len(body), b"connection: close"]
    return b"\r\n".join([*head, b"", body])
