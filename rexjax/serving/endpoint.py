"""One path that programs ask: who may, the answer as JSON, a line in the log and a measure of each request.

An ASGI application of its own. Starlette's wrappers around a function (routing, two layers that catch exceptions, each
with its own ``send``) cost a quarter of the server's own time for a request (50 against 37 us), so the paths that are
asked most do not pass through them.
"""

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from rexjax.serving import messages
from rexjax.serving.engine import Busy
from rexjax.serving.keys import Key, Keys
from rexjax.serving.metrics import Measures
from rexjax.serving.recommending import FAILED

_LOG = logging.getLogger("rexjax.serving")


class Endpoint:
    """Answers with what ``handle`` returns."""

    def __init__(
        self,
        path: str,
        handle: Callable[[Request], Awaitable[Any]],
        keys: Keys,
        measures: Measures,
        scope: str = "recommend",
    ) -> None:
        self.path, self._handle, self._keys, self._measures, self._scope = path, handle, keys, measures, scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        started, key, headers = time.perf_counter(), None, None
        status, value = 500, {"error": FAILED}
        try:
            request = Request(scope, receive)
            key = scope["key"] = self._admit(request)
            status, value = 200, await self._handle(request)
        except HTTPException as error:
            status, value, headers = error.status_code, {"error": error.detail}, error.headers
        except Busy as busy:
            status, value, headers = 429, {"error": str(busy)}, {"Retry-After": _seconds(busy.seconds)}
        finally:  # also when it fails, which the server that runs this writes about
            if status == 200:
                await self._answer(send, value)
            else:
                await messages.send_json(send, value, status, headers)
            self._tell(status, time.perf_counter() - started, key)

    async def _answer(self, send: Send, value: Any) -> None:
        await messages.send_json(send, value, 200, None)

    def _admit(self, request: Request) -> Key:
        key = self._keys.find(request.headers.get("authorization", "") if len(self._keys) else "")
        if key is None:
            wait = self._keys.wait_wrong(request.client.host if request.client else "")
            if wait > 0:
                raise HTTPException(429, "this address sends too many wrong keys", {"Retry-After": _seconds(wait)})
            raise HTTPException(401, "send a known API key: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
        if self._scope not in key.scopes:
            raise HTTPException(403, f"this key has no scope {self._scope}")
        if (wait := self._keys.wait(key)) > 0:
            raise HTTPException(429, "this key asks too often", {"Retry-After": _seconds(wait)})
        return key

    def _tell(self, status: int, seconds: float, key: Key | None) -> None:
        self._measures.request(self.path, status, seconds)
        line = {"path": self.path, "status": status, "ms": round(1e3 * seconds, 2), "key": key.name if key else None}
        _LOG.info(msgspec.json.encode(line).decode())


class Streamed(Endpoint):
    """Answers with the lines that ``handle`` returns, each as soon as it is there."""

    async def _answer(self, send: Send, value: AsyncGenerator[bytes, None]) -> None:
        headers = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with contextlib.aclosing(value):  # also where the client has gone
            async for line in value:
                await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _seconds(wait: float) -> str:
    return str(max(1, round(wait)))


class Application(Starlette):
    """Starlette, which some endpoints do not pass through."""

    def __init__(self, direct: list[Endpoint], **settings: Any) -> None:
        super().__init__(**settings)
        self._direct = {endpoint.path: endpoint for endpoint in direct}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        direct = self._direct.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (direct or super().__call__)(scope, receive, send)
