"""What is answered, as types: the schemas of answers in ``/openapi.json`` are made of them."""

from typing import Annotated, Any, Literal

import msgspec

Version = Annotated[str, msgspec.Meta(description="of the export that answered")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Item(msgspec.Struct):
    """An item with its score; for answers from popularity its share of all interactions."""

    id: str
    title: str
    score: float


class Recommended(msgspec.Struct):
    """The best items first."""

    items: list[Item]
    by: Literal["history", "popularity"]
    unknown: Annotated[list[str], msgspec.Meta(description="items of the request's history that the index lacks")]
    version: Version
    store: Literal["does not answer"] | msgspec.UnsetType = msgspec.UNSET


class Line(msgspec.Struct):
    """An answer of a batch: ``Recommended`` with the place of its request, or an error."""

    index: Count
    items: list[Item] | msgspec.UnsetType = msgspec.UNSET
    by: Literal["history", "popularity"] | msgspec.UnsetType = msgspec.UNSET
    unknown: list[str] | msgspec.UnsetType = msgspec.UNSET
    version: str | msgspec.UnsetType = msgspec.UNSET
    store: Literal["does not answer"] | msgspec.UnsetType = msgspec.UNSET
    status: int | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET


class Kept(msgspec.Struct):
    """How many events were stored."""

    kept: Count


class Event(msgspec.Struct):
    """One event of a user."""

    item: str
    time: Annotated[float, msgspec.Meta(description="seconds since 1970")]


class Events(msgspec.Struct):
    """The latest events of a user, oldest first."""

    events: list[Event]


class Erased(msgspec.Struct):
    """How many events were erased."""

    erased: Count


class Explained(msgspec.Struct):
    """What each item of the history gave to the score, the most first."""

    items: list[Item]
    always: float
    score: float
    version: Version


class Found(msgspec.Struct):
    """Items."""

    items: list[Item]
    version: Version


class ModelAnswer(msgspec.Struct):
    """What one model answers."""

    name: str
    bytes: Count
    ms: float
    items: list[Item]


class Compared(msgspec.Struct):
    """What each model answers; the served one comes last."""

    models: list[ModelAnswer]
    version: Version


class Error(msgspec.Struct):
    """What is wrong, in one sentence."""

    error: str


KINDS = (Recommended, Line, Kept, Events, Erased, Explained, Found, Compared, Error)


def schemas(template: str) -> tuple[dict[type, dict[str, Any]], dict[str, Any]]:
    """A reference to each kind's schema, and the schemas by name."""
    references, found = msgspec.json.schema_components(KINDS, ref_template=template)
    return dict(zip(KINDS, references, strict=True)), found
