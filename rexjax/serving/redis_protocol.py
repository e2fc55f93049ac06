"""A connection to Redis that ends in time: commands and replies of RESP2.

https://redis.io/docs/latest/develop/reference/protocol-spec
"""

import socket
import ssl
from collections.abc import Sequence
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from rexjax.errors import UserError

_PORT = 6379
Command = tuple[bytes, ...]


class Connection:
    """Sends commands and reads as many replies."""

    def __init__(self, url: str, seconds: float) -> None:
        """Connects, names itself and chooses the database.

        Args:
            url: ``redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]``, or ``rediss://`` for TLS.
            seconds: that a call may wait for the next bytes.

        Raises:
            UserError: the address is none.
            OSError: nobody answers there.
            ValueError: the server refuses the password or the database.
        """
        host, port, hello = _parse(url)
        self._socket = socket.create_connection((host, port), seconds)
        if url.startswith("rediss:"):
            self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=host)
        self._replies: BinaryIO = self._socket.makefile("rb")
        try:
            self.ask(hello)
        except BaseException:
            self.close()
            raise

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to ``commands``: bytes, int, None or lists of them.

        Raises:
            OSError: the server does not answer in time. The connection is of no use any more.
            ValueError: it refuses a command.
        """
        self._socket.sendall(b"".join(map(_encode, commands)))
        found = [_read(self._replies) for _ in commands]
        for reply in found:
            for part in reply if isinstance(reply, list) else [reply]:
                if isinstance(part, ValueError):
                    raise part
        return found

    def close(self) -> None:
        """Closes the connection."""
        self._replies.close()
        self._socket.close()


def _parse(url: str) -> tuple[str, int, list[Command]]:
    """Host, port, and the first commands."""
    try:
        about = urlsplit(url)
        port, database = about.port or _PORT, int(about.path.strip("/") or 0)
    except ValueError:
        about, port, database = urlsplit(""), 0, 0
    if not about.hostname:
        raise UserError("--store: a Redis server is written redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]")
    names = [unquote(name).encode() for name in (about.username, about.password) if name]
    return about.hostname, port, [(b"AUTH", *names)] * bool(names) + [(b"SELECT", b"%d" % database)]


def _encode(command: Command) -> bytes:
    """
    >>> _encode((b"GET", b"a"))
    b'*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\na\\r\\n'
    """
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)


def _read(replies: BinaryIO) -> Any:
    """The next reply; an error of the server is a ``ValueError`` that is returned."""
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server has closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        return ValueError(rest.decode("utf-8", "replace"))
    if kind == b":":
        return int(rest)
    if kind == b"+":
        return rest
    size = int(rest)
    if size < 0:
        return None
    if kind == b"*":
        return [_read(replies) for _ in range(size)]
    content = replies.read(size + 2)
    if len(content) < size + 2:
        raise ConnectionError("the server has closed the connection")
    return content[:-2]
