"""The way to the first process: a relay on this host, which stays up when the first process is gone.

JAX's client ends its process from C++, with a page of text, as soon as its connection to the first process breaks, and
takes no callback for it (the one of 0.10 cannot be a Python function). It is therefore connected to this relay, which
keeps its side open when the other one breaks and only says so (``lost``).
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

from rexjax.errors import UserError


class Relay:
    """Listens on this host and hands on all that comes to the first process, and back."""

    def __init__(self, target: str):
        host, _, port = target.rpartition(":")
        self._target = host.strip("[]"), int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        """For JAX's client."""
        self.reached = threading.Event()
        """The first process has been reached."""
        self.lost = threading.Event()
        """It was reached, and the connection broke."""
        self._ends: list[socket.socket] = []
        _thread(self._accept)

    def close(self) -> None:
        """Ends all connections and takes no further ones."""
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # so that threads which wait for it return
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                _thread(lambda near=near: self._join(near))

    def _join(self, near: socket.socket) -> None:
        far = self._connect()
        self.reached.set()
        self._ends += near, far
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        over = threading.Event()

        def send() -> None:
            _copy(near, far)
            over.set()
            with contextlib.suppress(OSError):
                far.shutdown(socket.SHUT_RDWR)

        _thread(send)
        _copy(far, near)
        if not over.is_set():
            self.lost.set()

    def _connect(self) -> socket.socket:
        """The first process may come later than this one, and so may its host's name."""
        while True:
            try:
                return socket.create_connection(self._target)
            except OSError:
                time.sleep(0.2)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Until one of them ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)


def _thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True, name="rexjax relay").start()


def check_free(address: str) -> None:
    """UserError where another program listens at the port of ``address``, on which this process must."""
    port = int(address.rpartition(":")[2])
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        why = os.strerror(error.errno)
        raise UserError(f"process 0 cannot listen at {address} ({why}): take another port") from error
