"""The HTTP server: routes, who may ask, what an answer looks like. What it computes, the engine computes."""

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rexjax.errors import UserError
from rexjax.serving import messages, parts
from rexjax.serving.bundle import Bundle, Verify, accept
from rexjax.serving.endpoint import FAILED, Application, Endpoint
from rexjax.serving.engine import Engine, Question, padded
from rexjax.serving.keys import Keys
from rexjax.serving.metrics import Measures
from rexjax.serving.openapi import describe
from rexjax.serving.pages import Front, files
from rexjax.serving.store import Store, Unavailable
from rexjax.serving.swap import Retry, check_apart, settle

_LOG = logging.getLogger("rexjax.serving")
_USER = "/v1/users/{user:path}"
_SCOPES = {"/v1/events": "events", _USER: "users"}
_NAMED = 5  # categories in an error
WATCH_SECONDS = 2.0
"""Seconds between looks for a new bundle."""
_STEP = 4096  # popular items that are looked at together
_EXPIRE = 1800  # looks between two removals of old events


class Server:
    """Everything that a request needs; ``app`` is the ASGI application."""

    def __init__(
        self, folder: Path, *, keys: Keys, store: Path | str, waiting: int = 1024, verify: Verify = accept
    ) -> None:
        """Reads, compiles and checks the bundle in ``folder``, which is looked at again every two seconds; ``store`` is
        the file of histories. ``verify`` raises where a bundle's signature is not trusted.

        Raises:
            UserError: it cannot answer.
        """
        self.folder, self.keys, self.measures, self._verify = folder, keys, Measures(), verify
        self.engine = Engine(Bundle(folder, verify=verify), waiting=waiting, observe=self.measures.observe)
        self.measures.loaded(self.engine.bundle)
        self.store = Store(store)  # none is made for a folder that cannot answer
        self.ready = False
        self._retry, self._look = Retry(), asyncio.Event()
        self.told: dict[str, str] = {}
        """What went wrong last, by what it was: "swap", "keys"."""
        front = Front(self.engine)

        def endpoint(path, handle):
            return Endpoint(path, handle, keys, self.measures, _SCOPES.get(path, "recommend"))

        asked = {
            "/v1/recommend": self.recommend,
            "/v1/events": self.events,
            "/v1/explain": self.explain,
            "/v1/compare": front.compare,
        }
        looked_up = {"/v1/items": front.items, "/v1/items/{item}/similar": self.similar}
        posts = [endpoint(path, handle) for path, handle in asked.items()]
        self.app = Application(
            posts,
            routes=[
                *(Route(post.path, post, methods=["POST"]) for post in posts),  # for those who use another method
                *(Route(path, endpoint(path, handle), methods=["GET"]) for path, handle in looked_up.items()),
                Route(_USER, endpoint(_USER, self.user), methods=["GET", "DELETE"]),
                *files(),
                Route("/healthz", self.health),
                Route("/readyz", self.readiness),
                Route("/metrics", self.metrics),
                Route("/openapi.json", self.openapi),
            ],
            lifespan=self._life,
            exception_handlers={HTTPException: _refused, Exception: _failed},
        )

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        answering, watching = asyncio.create_task(self.engine.run()), asyncio.create_task(self._watch())
        settle()
        self.app.router.redirect_slashes = False  # it would send clients to whatever host they named
        self.ready = True
        yield
        self.ready = False
        watching.cancel()
        await self.engine.stop()
        await asyncio.gather(answering, watching, return_exceptions=True)
        self.store.close()

    async def recommend(self, request: Request) -> dict[str, Any]:
        """The k best items after a history; the most popular ones where nothing of it is known."""
        asked, bundle = await messages.body(request, messages.Recommend), self.engine.bundle
        k, unstored = messages.whole(asked.k, bundle.k), {}
        history = asked.history or []
        if asked.history is None and asked.user is not None:
            try:
                history = await self.store.apart(self.store.history, asked.user, bundle.length)
            except Unavailable:
                self.measures.unstored.inc()
                unstored = {"store": "does not answer"}
        known, exclude = bundle.dense(history), bundle.dense(asked.exclude)
        mask = _mask(bundle, asked.only, asked.categories)
        if known:
            found = await self.engine.ask(Question(bundle, known, k, exclude, mask))
            pairs = zip(found.ids, found.scores, strict=True)
            self.measures.scored(found.scores)
        else:
            popular = _most_popular(bundle, k, exclude, mask)
            pairs = zip(popular.tolist(), bundle.share[popular].tolist(), strict=True)
        return {
            "items": [messages.item(bundle, item, score) for item, score in pairs],
            "by": "history" if known else "popularity",
            "unknown": [] if len(known) == len(history) else [name for name in history if name not in bundle.by_id],
            "version": bundle.version,
        } | unstored

    async def events(self, request: Request) -> dict[str, Any]:
        """Keeps what a user did, so that the next answer knows it."""
        told = await messages.body(request, messages.Events)
        await self._stored(self.store.append, told.user, told.items)
        return {"kept": len(told.items)}

    async def user(self, request: Request) -> dict[str, Any]:
        """All that is kept of a user, or, for DELETE, its end."""
        name = request.path_params["user"]
        if request.method == "DELETE":
            return {"erased": await self._stored(self.store.erase, name)}
        kept = await self._stored(self.store.events, name)
        return {"events": [{"item": item, "time": time} for item, time in kept]}

    async def _stored(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self.store.apart(call, *arguments)
        except Unavailable as error:
            self.measures.unstored.inc()
            raise HTTPException(503, str(error), {"Retry-After": "2"}) from None

    async def explain(self, request: Request) -> dict[str, Any]:
        """How much each item of a history gave to an item's score, the most first; exact, not estimated."""
        asked, bundle = await messages.body(request, messages.Explain), self.engine.bundle
        if not bundle.explains:
            raise HTTPException(404, "the model that answers is none whose score is a sum over the history")
        history = bundle.dense(asked.history)[-bundle.length :]
        if asked.item not in bundle.by_id or not history:
            raise HTTPException(404, "no such item" if history else "no item of the history is known")
        item = np.asarray([bundle.by_id[asked.item]])
        given = (await asyncio.to_thread(bundle.explain, padded([history], bundle.length), item))[0]
        each = zip(history, given[-1 - len(history) : -1].tolist(), strict=True)
        items = sorted((messages.item(bundle, number, share) for number, share in each), key=lambda one: -one["score"])
        return {"items": items, "always": float(given[-1]), "score": float(given.sum()), "version": bundle.version}

    async def similar(self, request: Request) -> dict[str, Any]:
        """The items whose vectors are nearest to an item's."""
        bundle, name = self.engine.bundle, request.path_params["item"]
        k = messages.number(request, bundle.k)
        if name not in bundle.by_id:
            raise HTTPException(404, "no such item")
        found = await asyncio.to_thread(bundle.similar, np.asarray([bundle.by_id[name]]))
        pairs = list(zip(found.ids[0].tolist(), found.scores[0].tolist(), strict=True))[:k]
        items = [messages.item(bundle, item, score) for item, score in pairs if np.isfinite(score)]
        return {"items": items, "version": bundle.version}

    async def health(self, request: Request) -> Response:
        """The process lives."""
        return messages.reply({"status": "alive"})

    async def readiness(self, request: Request) -> Response:
        """All programs are compiled and questions are taken."""
        said = {"ready": self.ready, "version": self.engine.bundle.version}
        if "verbose" in request.query_params:
            said |= {
                "store": "does not answer" if self.store.resting else "answers",
                "keys": len(self.keys),
            } | self.told
        return messages.reply(said, 200 if self.ready else 503)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(generate_latest(self.measures.registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, request: Request) -> Response:
        """What can be asked, for programs."""
        bundle = self.engine.bundle
        return messages.reply(describe(bundle.k, bool(len(self.keys)), tuple(bundle.categories)))

    def refresh(self) -> None:
        """Looks for new keys and a new bundle at once."""
        self._look.set()

    async def _watch(self) -> None:
        """Swaps a new bundle in when the folder holds one, and goes on with the old one when it is not sound."""
        for look in itertools.count():
            if look % _EXPIRE == 0:
                with contextlib.suppress(Unavailable):  # an hour later, then
                    await self.store.apart(self.store.expire)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), WATCH_SECONDS)
            self._look.clear()
            await self._refresh_keys()
            now = await asyncio.to_thread(parts.read_manifest, self.folder)
            if now not in (b"", self.engine.bundle.manifest) and self._retry.due(now, time.monotonic()):
                await self._swap(now)

    async def _swap(self, manifest: bytes) -> None:
        try:
            await asyncio.to_thread(parts.trusted, self.folder, manifest, self._verify)
            await check_apart(self.folder, manifest)
            # the hashes in the same manifest make sure that these are the bytes which were checked
            bundle = await asyncio.to_thread(Bundle, self.folder, manifest)
            await asyncio.to_thread(self.engine.swap, bundle)
        except Exception as error:  # whatever it is, the old one goes on, and this one is tried again later
            seconds = self._retry.failed(manifest, time.monotonic())
            self.measures.swaps.labels("refused").inc()
            self.told["swap"] = f"refused: {error}"
            _LOG.error(json.dumps({"swap": "refused", "why": str(error), "again in": seconds}))
            return
        self.told.pop("swap", None)
        self.measures.swaps.labels("done").inc()
        self.measures.loaded(bundle)
        await asyncio.to_thread(settle)
        _LOG.info(json.dumps({"swap": "done", "version": bundle.version}))

    async def _refresh_keys(self) -> None:
        try:
            changed = await asyncio.to_thread(self.keys.refresh)
        except UserError as error:  # those before go on
            self.told["keys"] = str(error)
            _LOG.error(json.dumps({"keys": "refused", "why": str(error)}))
            return
        if changed:
            self.told.pop("keys", None)
            _LOG.info(json.dumps({"keys": len(self.keys)}))


def _most_popular(bundle: Bundle, k: int, exclude: list[int], mask: np.ndarray | None) -> np.ndarray:
    """The k most popular items that are not excluded: int32 [K]. Of the catalogue it reads no more than it needs."""
    without, found, start = frozenset(exclude), np.zeros(0, np.int32), 0
    step = max(_STEP, k + len(without))
    while len(found) < k and start < len(bundle.popular):
        part = bundle.popular[start : start + step]
        part = part if mask is None else part[mask[part]]
        found = np.append(found, [item for item in part.tolist() if item not in without]).astype(np.int32)
        start += step
    return found[:k]


def _mask(bundle: Bundle, only: list[str] | None, categories: list[str] | None) -> np.ndarray | None:
    """What may be answered; None: everything."""
    found = None if categories is None else _in_categories(bundle, categories)
    if only is None:
        return found
    mask = np.zeros(bundle.items, bool)
    mask[bundle.dense(only)] = True
    return mask if found is None else mask & found


def _in_categories(bundle: Bundle, names: list[str]) -> np.ndarray:
    if not bundle.categories:
        raise HTTPException(422, "this index knows no categories: make it with --data.columns.category")
    known = frozenset(name for name in names if name in bundle.categories)
    if not known:
        some = ", ".join(map(repr, [*bundle.categories][:_NAMED])) + ", …" * (len(bundle.categories) > _NAMED)
        raise HTTPException(422, f"no item is of category {' or '.join(map(repr, names[:_NAMED]))}: there are {some}")
    return bundle.of_categories(known)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return messages.reply({"error": error.detail}, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return messages.reply({"error": FAILED}, 500)
