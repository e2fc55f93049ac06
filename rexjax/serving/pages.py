"""The page at / and the two questions that it asks besides: which items there are, and what other models answer."""

import asyncio
import time
from importlib import resources
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rexjax.serving import messages
from rexjax.serving.bundle import Bundle
from rexjax.serving.comparison import MOST
from rexjax.serving.engine import Busy, Engine, Question, answer_all, padded
from rexjax.serving.tracing import answered_by

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/elements.js": ("elements.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
MOST_WAITING = 16
"""Comparisons that wait for their turn at most."""


class Front:
    """Its handlers answer from what the engine answers from."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn, self._waiting, self._seconds = asyncio.Lock(), 0, 0.1

    async def items(self, request: Request) -> dict[str, Any]:
        """Items whose title or id holds a text, the most popular first."""
        bundle = self._engine.bundle
        answered_by(request.scope, bundle.version)
        k = messages.number(request, bundle.k)
        found = await asyncio.to_thread(bundle.search.find, request.query_params.get("q", ""), k)
        return {
            "items": [messages.item(bundle, item, float(bundle.share[item])) for item in found],
            "version": bundle.version,
        }

    async def compare(self, request: Request) -> dict[str, Any]:
        """The answers of all models that the bundle has, with the time that each took: the one that is served last.

        Comparisons are made one after the other, so that none measures another.
        """
        asked, bundle = await messages.body(request, messages.Compare), self._engine.bundle
        answered_by(request.scope, bundle.version)
        k = messages.whole(asked.k, MOST)
        history = bundle.dense(asked.history)[-bundle.length :]
        if not history:
            raise HTTPException(404, "no item of the history is known")
        if self._waiting >= MOST_WAITING:
            raise Busy(self._waiting * self._seconds)
        self._waiting += 1
        try:
            async with self._turn:
                started = time.perf_counter()
                models = await asyncio.to_thread(side_by_side, bundle, history, k)
                self._seconds = time.perf_counter() - started
        finally:
            self._waiting -= 1
        return {"models": models, "version": bundle.version}


def side_by_side(bundle: Bundle, history: list[int], k: int) -> list[dict[str, Any]]:
    """Name, bytes, milliseconds and items of each model, after a history of at most L dense ids."""
    asked, question = padded([history], bundle.length), Question(bundle, history, k, [], None)
    models = [(one.name, one.bytes_resident, lambda one=one: one.answer(asked, k)) for one in bundle.compared]
    models.append((bundle.name, bundle.bytes_resident, lambda: answer_all([question])[0]))
    found = []
    for name, size, run in models:
        started = time.perf_counter()
        pairs = list(zip(*run(), strict=True))
        ms = round(1e3 * (time.perf_counter() - started), 3)
        items = [messages.item(bundle, item, score) for item, score in pairs]
        found.append({"name": name, "bytes": size, "ms": ms, "items": items})
    return found


def files() -> list[Route]:
    """The page and what it loads: nothing from elsewhere, and no script or style but these."""
    folder = resources.files("rexjax.serving") / "page"
    return [Route(path, _file((folder / name).read_bytes(), kind)) for path, (name, kind) in _FILES.items()]


def _file(content: bytes, kind: str) -> Any:
    async def send(request: Request) -> Response:
        return Response(content, headers=_HEADERS, media_type=kind)

    return send
