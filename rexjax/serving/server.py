"""The HTTP server: routes, who may ask, what an answer looks like. What it computes, the engine computes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rexjax.serving import messages
from rexjax.serving.bundle import Bundle, Verify, accept
from rexjax.serving.endpoint import Application, Endpoint, Streamed
from rexjax.serving.engine import Engine, padded
from rexjax.serving.keys import Keys
from rexjax.serving.metrics import Measures
from rexjax.serving.openapi import describe
from rexjax.serving.pages import Front, files
from rexjax.serving.recommending import FAILED, Recommender
from rexjax.serving.store import Unavailable
from rexjax.serving.stores import open_store
from rexjax.serving.swap import settle
from rexjax.serving.tracing import answered_by
from rexjax.serving.user_ids import UserIds
from rexjax.serving.watching import Watch

_SIMILAR = "/v1/items/{item:path}/similar"
_USER = "/v1/users/{user:path}"
_SCOPES = {"/v1/events": "events", _USER: "users"}


class Server:
    """Everything that a request needs; ``app`` is the ASGI application."""

    def __init__(
        self,
        folder: Path,
        *,
        keys: Keys,
        store: Path | str,
        waiting: int = 1024,
        verify: Verify = accept,
        ids: UserIds | None = None,
    ) -> None:
        """Reads, compiles and checks the bundle in ``folder``, which is looked at again every two seconds.

        Args:
            folder: of the export.
            keys: who may ask.
            store: of histories: a file, or the address of a Redis server.
            waiting: length of the queue.
            verify: raises where a bundle's signature is not trusted.
            ids: with the keys of the users' ids in the store; None: those in a file beside it.

        Raises:
            UserError: it cannot answer.
        """
        self.keys, self.measures = keys, Measures()
        self.engine = Engine(Bundle(folder, verify=verify), waiting=waiting, observe=self.measures.observe)
        self.measures.loaded(self.engine.bundle)
        self.store = open_store(store, ids)  # none is made for a folder that cannot answer
        self.ready = False
        self.watch = Watch(folder, verify, self.engine, keys, self.store, self.measures)
        self._recommender = Recommender(self.engine, self.store, self.measures)
        front = Front(self.engine)

        def endpoint(path, handle):
            return Endpoint(path, handle, keys, self.measures, _SCOPES.get(path, "recommend"))

        asked = {
            "/v1/recommend": self.recommend,
            "/v1/events": self.events,
            "/v1/explain": self.explain,
            "/v1/compare": front.compare,
        }
        looked_up = {"/v1/items": front.items, _SIMILAR: self.similar}
        posts = [endpoint(path, handle) for path, handle in asked.items()]
        posts.append(Streamed(messages.BATCH, self.batch, keys, self.measures))
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
        answering, watching = asyncio.create_task(self.engine.run()), asyncio.create_task(self.watch.run())
        settle()
        self.app.router.redirect_slashes = False  # it would send clients to whatever host they named
        self.ready = True
        yield
        self.ready = False
        watching.cancel()
        await self.engine.stop()
        await asyncio.gather(answering, watching, return_exceptions=True)
        self.store.close()

    def _bundle(self, request: Request) -> Bundle:
        """What answers ``request``."""
        bundle = self.engine.bundle
        answered_by(request.scope, bundle.version)
        return bundle

    async def recommend(self, request: Request) -> dict[str, Any]:
        """The k best items after a history; the most popular ones where nothing of it is known."""
        asked = await messages.body(request, messages.Recommend, messages.LARGEST_WITH_IDS)
        return await self._recommender.answer(asked, _tenant(request), self._bundle(request))

    async def batch(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The same for many requests: a line of JSON for each, in their order."""
        asked = await messages.body(request, messages.Batch, messages.LARGEST_BATCH)
        self.keys.charge(request.scope["key"], len(asked.requests) - 1)
        return self._recommender.lines(asked.requests, _tenant(request), self._bundle(request))

    async def events(self, request: Request) -> dict[str, Any]:
        """Keeps what a user did, so that the next answer knows it."""
        told = await messages.body(request, messages.Events)
        await self._stored(self.store.append, told.user, told.items, _tenant(request))
        return {"kept": len(told.items)}

    async def user(self, request: Request) -> dict[str, Any]:
        """All that is kept of a user, or, for DELETE, its end."""
        whose = request.path_params["user"], _tenant(request)
        if request.method == "DELETE":
            return {"erased": await self._stored(self.store.erase, *whose)}
        kept = await self._stored(self.store.events, *whose)
        return {"events": [{"item": item, "time": time} for item, time in kept]}

    async def _stored(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self.store.apart(call, *arguments)
        except Unavailable as error:
            self.measures.unstored.inc()
            raise HTTPException(503, str(error), {"Retry-After": "2"}) from None

    async def explain(self, request: Request) -> dict[str, Any]:
        """How much each item of a history gave to an item's score, the most first; exact, not estimated."""
        asked, bundle = await messages.body(request, messages.Explain), self._bundle(request)
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
        bundle, name = self._bundle(request), request.path_params["item"]
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
            } | self.watch.told
        return messages.reply(said, 200 if self.ready else 503)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(generate_latest(self.measures.registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, request: Request) -> Response:
        """What can be asked, for programs."""
        bundle = self.engine.bundle
        return messages.reply(describe(bundle.k, bool(len(self.keys)), tuple(bundle.categories)))


def _tenant(request: Request) -> str:
    """Whose users the request means: those of its key's tenant."""
    return request.scope["key"].tenant


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return messages.reply({"error": error.detail}, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return messages.reply({"error": FAILED}, 500)
