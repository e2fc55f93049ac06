"""What can be asked, described for programs (OpenAPI 3.1)."""

import functools
from typing import Any

import msgspec

from rexjax.serving.comparison import MOST
from rexjax.serving.messages import Compare, Events, Explain, Recommend


@functools.cache
def describe(most: int, keys: bool, categories: tuple[str, ...] = ()) -> dict[str, Any]:
    """For a server that answers at most ``most`` items, of ``categories``, to those who have one of its ``keys``."""
    (recommend, events, explain, compare), schemas = msgspec.json.schema_components(
        (Recommend, Events, Explain, Compare), ref_template="#/components/schemas/{name}"
    )
    number = {"type": "integer", "minimum": 1, "maximum": most, "default": 10}
    asked = schemas["Recommend"]["properties"]
    asked["k"] = number
    if categories:
        asked["categories"]["anyOf"][0]["contains"] = {"enum": categories}  # others beside it count for nothing
    else:
        del asked["categories"]
    schemas["Compare"]["properties"]["k"] = number | {"maximum": MOST}
    refusals = {
        "400": "the body is no JSON",
        "404": "no such item",
        "413": "the body is too large",
        "422": "a field is wrong",
        "429": "too many requests wait, or of this key",
        "503": "the store of histories does not answer",
    } | ({"401": "no known key", "403": "not with this key"} if keys else {})
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    refused = {s: {"description": text, "content": _content(error)} for s, text in refusals.items()}

    def operation(what: str, answer: str, **more: Any) -> dict[str, Any]:
        found = {"200": {"description": what, "content": _content({"type": "object", "required": [answer]})}}
        return {"summary": what, "responses": found | refused} | more

    def body(schema):
        return {"required": True, "content": _content(schema)}

    item = {"name": "item", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    user = item | {"name": "user"}
    q = {"name": "q", "in": "query", "schema": {"type": "string", "default": ""}}
    k = {"name": "k", "in": "query", "schema": number}
    found = {
        "openapi": "3.1.0",
        "info": {"title": "rexjax", "version": "1"},
        "paths": {
            "/v1/recommend": {"post": operation("the best items", "items", requestBody=body(recommend))},
            "/v1/events": {"post": operation("keeps what a user did", "kept", requestBody=body(events))},
            "/v1/explain": {"post": operation("what each event gave", "items", requestBody=body(explain))},
            "/v1/compare": {"post": operation("what each model answers", "models", requestBody=body(compare))},
            "/v1/items": {"get": operation("the items that hold a text", "items", parameters=[q, k])},
            "/v1/items/{item}/similar": {"get": operation("the nearest items", "items", parameters=[item, k])},
            "/v1/users/{user}": {
                "get": operation("all that is kept of a user", "events", parameters=[user]),
                "delete": operation("erases a user", "erased", parameters=[user]),
            },
        },
        "components": {"schemas": schemas},
    }
    if keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
