"""Recommendations: whose history counts, what may be answered, and what is popular where nothing of it is known."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import numpy as np
from starlette.exceptions import HTTPException

from rexjax.serving import messages
from rexjax.serving.bundle import Bundle
from rexjax.serving.engine import LARGEST, Busy, Engine, Question
from rexjax.serving.metrics import Measures
from rexjax.serving.popular import Allowed
from rexjax.serving.store import Store, Unavailable

_LOG = logging.getLogger("rexjax.serving")
_NAMED = 5  # categories in an error
FAILED = "this should not have happened; the log says more"


class Recommender:
    """Answers ``/v1/recommend`` and its batches."""

    def __init__(self, engine: Engine, store: Store, measures: Measures) -> None:
        self._engine, self._store, self._measures = engine, store, measures

    async def answer(self, asked: messages.Recommend, tenant: str, bundle: Bundle) -> dict[str, Any]:
        """The k best items after a history; the most popular ones where nothing of it is known.

        Args:
            asked: the request.
            tenant: whose users are meant.
            bundle: what answers.

        Raises:
            HTTPException: a field cannot be answered from.
            Busy: too many requests wait.
        """
        k, allowed = messages.whole(asked.k, bundle.k), _allowed(bundle, asked.only, asked.categories)
        history, missing = await self._history(asked, tenant, bundle)
        known, exclude = bundle.dense(history), bundle.dense(asked.exclude)
        if known:
            found = await self._engine.ask(Question(bundle, known, k, exclude, allowed))
            pairs = zip(found.ids, found.scores, strict=True)
            self._measures.scored(found.scores)
        else:
            self._measures.fallbacks.labels(missing or ("unknown items" if history else "no history")).inc()
            popular = bundle.popular.top(k, exclude, allowed)
            pairs = zip(popular.tolist(), bundle.share[popular].tolist(), strict=True)
        self._measures.unknown.inc(len(history) - len(known))
        unknown = [] if len(known) == len(asked.history or ()) else asked.history or ()
        return {
            "items": [messages.item(bundle, item, score) for item, score in pairs],
            "by": "history" if known else "popularity",
            # of the request's own history: what the store knows of a user is not told by a recommendation
            "unknown": [name for name in unknown if name not in bundle.by_id],
            "version": bundle.version,
        } | ({"store": "does not answer"} if missing else {})

    async def _history(self, asked: messages.Recommend, tenant: str, bundle: Bundle) -> tuple[list[str], str]:
        """Item ids, latest last, and what is missing: "store" where it does not answer, else ""."""
        if asked.history is not None or asked.user is None:
            return asked.history or [], ""
        try:
            return await self._store.apart(self._store.history, asked.user, bundle.length, tenant), ""
        except Unavailable:
            self._measures.unstored.inc()
            return [], "store"

    async def lines(self, asked: list[messages.Recommend], tenant: str, bundle: Bundle) -> AsyncGenerator[bytes, None]:
        """The answers to a batch in its order, a line of JSON each; at most ``LARGEST`` of them wait at once."""
        running: deque[asyncio.Task[bytes]] = deque()
        try:
            for number, request in enumerate(asked):
                if len(running) >= LARGEST:
                    yield await running.popleft()
                running.append(asyncio.create_task(self._line(number, request, tenant, bundle)))
            while running:
                yield await running.popleft()
        finally:
            for task in running:
                task.cancel()

    async def _line(self, number: int, asked: messages.Recommend, tenant: str, bundle: Bundle) -> bytes:
        try:
            found = await self.answer(asked, tenant, bundle)
        except HTTPException as error:
            found = {"status": error.status_code, "error": error.detail}
        except Busy as busy:
            found = {"status": 429, "error": str(busy)}
        except Exception:  # the other lines are answered all the same
            _LOG.exception('{"batch": "a line failed"}')
            found = {"status": 500, "error": FAILED}
        return msgspec.json.encode({"index": number, **found}) + b"\n"


def _allowed(bundle: Bundle, only: list[str] | None, categories: list[str] | None) -> Allowed | None:
    """What may be answered; None: everything."""
    if only is None and categories is None:
        return None
    ids = None if only is None else np.asarray(bundle.dense(only), np.int32)
    return Allowed(ids, None if categories is None else _numbers(bundle, categories))


def _numbers(bundle: Bundle, names: list[str]) -> frozenset[int]:
    if not bundle.categories:
        raise HTTPException(422, "this index knows no categories: make it with --data.columns.category")
    known = frozenset(bundle.categories[name] for name in names if name in bundle.categories)
    if not known:
        some = ", ".join(map(repr, [*bundle.categories][:_NAMED])) + ", …" * (len(bundle.categories) > _NAMED)
        raise HTTPException(422, f"no item is of category {' or '.join(map(repr, names[:_NAMED]))}: there are {some}")
    return known
