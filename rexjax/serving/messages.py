"""What may be asked and what is answered: bodies and numbers of requests, checked; answers as JSON."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from rexjax.serving.bundle import Bundle

LARGEST = 64 * 1024
"""Bytes of a request's body, where no more is said."""
LARGEST_WITH_IDS, LARGEST_BATCH = 1 << 19, 1 << 20
"""Bytes of a request that may name ``MOST_IDS`` items, and of a batch."""
MOST_IDS, MOST_REQUESTS = 10_000, 1000
"""Items that ``only`` or ``exclude`` may name; requests of a batch."""

BATCH = "/v1/recommend/batch"
"""Its path."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Number = Annotated[int, msgspec.Meta(ge=1)] | Annotated[float, msgspec.Meta(ge=1)]  # 1e1 is an integer in JSON


class Recommend(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked of ``/v1/recommend``: after a history; else after that of a user, from the store; else what is
    popular."""

    history: Annotated[list[Name], msgspec.Meta(max_length=200)] | None = None
    user: Name | None = None
    k: Number = 10
    exclude: Annotated[list[Name], msgspec.Meta(max_length=MOST_IDS)] = []
    only: Annotated[list[Name], msgspec.Meta(max_length=MOST_IDS)] | None = None
    categories: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=64)] | None = None


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked of ``/v1/recommend/batch``: many requests, each answered by a line."""

    requests: Annotated[list[Recommend], msgspec.Meta(min_length=1, max_length=MOST_REQUESTS)]


class Events(msgspec.Struct, forbid_unknown_fields=True):
    """What is told to ``/v1/events``: what a user did, oldest first."""

    user: Name
    items: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=200)]


class Explain(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked of ``/v1/explain``: why an item was recommended after a history."""

    history: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=200)]
    item: Name


class Compare(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked of ``/v1/compare``: what each model recommends after a history."""

    history: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=200)]
    k: Number = 10


async def body(request: Request, kind: type[Any], most: int = LARGEST) -> Any:
    """The body, of at most ``most`` bytes, as ``kind``."""
    found, more = bytearray(), True
    while more:
        part = await request.receive()
        if part["type"] == "http.disconnect":  # for the log: nobody is left to be told
            raise HTTPException(400, "the body has not come whole")
        found += part.get("body", b"")
        more = part.get("more_body", False)
        if len(found) > most:
            raise HTTPException(413, f"a body may have {most} bytes")
    try:
        return _decoder(kind).decode(found)
    except msgspec.ValidationError as error:
        raise HTTPException(422, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from None


_decoder = functools.cache(msgspec.json.Decoder)


def whole(k: float, most: int) -> int:
    """``k`` of a body, from 1 to ``most``."""
    if k > most or k != int(k):
        raise HTTPException(422, f"k is {k}: a whole number up to {most} can be asked for")
    return int(k)


def number(request: Request, most: int) -> int:
    """``k`` of a query, from 1 to ``most``."""
    text = request.query_params.get("k", "10")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise HTTPException(422, f"k must be a number from 1 to {most}")
    return int(text)


def item(bundle: Bundle, number: int, score: float) -> dict[str, Any]:
    """An answered item, by dense id."""
    return {"id": bundle.item_ids[number], "title": bundle.titles[number], "score": round(score, 6)}


def reply(value: Any, status: int = 200, headers: Any = None) -> Response:
    """``value`` as JSON."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


async def send_json(send: Send, value: Any, status: int, headers: Mapping[str, str] | None) -> None:
    """Sends ``value`` as ``reply`` would, without making a ``Response``."""
    body = msgspec.json.encode(value)
    known = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    known += [(name.lower().encode(), text.encode()) for name, text in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": known})
    await send({"type": "http.response.body", "body": body})
