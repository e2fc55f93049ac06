"""What can be asked, described for programs (OpenAPI 3.1)."""

import copy
import functools
from typing import Any

import msgspec

from rexjax.serving import answers
from rexjax.serving.comparison import MOST
from rexjax.serving.messages import BATCH, Batch, Compare, Events, Explain, Recommend

_TEMPLATE = "#/components/schemas/{name}"
_JSON, _LINES = "application/json", "application/x-ndjson"
_HEADERS = {
    "X-Request-Id": {"description": "that of the request, or a random one", "schema": {"type": "string"}},
    "X-Model-Version": {"description": "of the export that answered", "schema": {"type": "string"}},
}


@functools.cache
def describe(most: int, keys: bool, categories: tuple[str, ...] = ()) -> dict[str, Any]:
    """For a server that answers at most ``most`` items, of ``categories``, to those who have one of its ``keys``."""
    kinds = (Recommend, Batch, Events, Explain, Compare)
    asked_kinds, schemas = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    recommend, batch, events, explain, compare = asked_kinds
    answer, answer_schemas = answers.schemas(_TEMPLATE.replace("{name}", "{name}Answer"))
    schemas |= {f"{name}Answer": schema for name, schema in answer_schemas.items()}
    number = {"type": "integer", "minimum": 1, "maximum": most, "default": 10}
    # a request of a batch that cannot be answered from gets a line that says so
    schemas["BatchRequest"] = copy.deepcopy(schemas["Recommend"]) | {"title": "BatchRequest"}
    schemas["Batch"]["properties"]["requests"]["items"] = {"$ref": _TEMPLATE.format(name="BatchRequest")}
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
    refused = {s: {"description": text, "content": _content(answer[answers.Error])} for s, text in refusals.items()}

    def operation(what: str, kind: type, content: str = _JSON, **more: Any) -> dict[str, Any]:
        found = {"200": {"description": what, "headers": _HEADERS, "content": _content(answer[kind], content)}}
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
            "/v1/recommend": {"post": operation("the best items", answers.Recommended, requestBody=body(recommend))},
            BATCH: {"post": operation("an answer a line", answers.Line, _LINES, requestBody=body(batch))},
            "/v1/events": {"post": operation("keeps what a user did", answers.Kept, requestBody=body(events))},
            "/v1/explain": {"post": operation("what each event gave", answers.Explained, requestBody=body(explain))},
            "/v1/compare": {"post": operation("what each model answers", answers.Compared, requestBody=body(compare))},
            "/v1/items": {"get": operation("the items that hold a text", answers.Found, parameters=[q, k])},
            "/v1/items/{item}/similar": {"get": operation("the nearest items", answers.Found, parameters=[item, k])},
            "/v1/users/{user}": {
                "get": operation("all that is kept of a user", answers.Events, parameters=[user]),
                "delete": operation("erases a user", answers.Erased, parameters=[user]),
            },
        },
        "components": {"schemas": schemas},
    }
    if keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def _content(schema: dict[str, Any], kind: str = _JSON) -> dict[str, Any]:
    return {kind: {"schema": schema}}
