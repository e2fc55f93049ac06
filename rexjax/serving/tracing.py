"""A name for each request and the version that answered it, in the answer's headers and in every line of the log."""

import contextvars
import os
import re
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PLAIN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NAME = b"x-request-id"
ABOUT: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("about", default={})  # noqa: B039 - not changed
"""What lines of the log say about the request that they are written for: ``request`` and ``version``."""


class Traced:
    """Passes requests on and names them: ``X-Request-Id`` of the client where it is plain, else a random one."""

    def __init__(self, app: ASGIApp, version: Callable[[], str]) -> None:
        """``version`` tells that of the bundle that answers now."""
        self._app, self._version = app, version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        about = {"request": request_id(scope["headers"]), "version": self._version()}
        scope["about"] = about
        ABOUT.set(about)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(_NAME, about["request"].encode()), (b"x-model-version", about["version"].encode())]
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        await self._app(scope, receive, named)


def request_id(headers: list[tuple[bytes, bytes]]) -> str:
    """The client's name of a request, of at most 64 letters, digits, dots, dashes and underscores, or a random one.

    >>> request_id([(b"x-request-id", b"order-7")]), len(request_id([(b"x-request-id", b"a b")]))
    ('order-7', 32)
    """
    given = next((value for name, value in headers if name == _NAME), b"")
    return given.decode("ascii") if _PLAIN.fullmatch(given) else os.urandom(16).hex()


def answered_by(scope: dict[str, Any], version: str) -> None:
    """Notes that the bundle of ``version`` answers the request of ``scope``: a swap may come meanwhile."""
    if "about" in scope:
        scope["about"]["version"] = version
