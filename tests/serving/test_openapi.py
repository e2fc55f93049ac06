import json

import jsonschema

from rexjax.serving.answers import KINDS
from rexjax.serving.openapi import describe

USER = ("get", "delete")
PATHS = {"recommend", "recommend/batch", "events", "explain", "compare", "items", "items/{item}/similar"}


def test_it_names_every_path_and_whole_numbers():
    found = describe(100, False)
    assert set(found["paths"]) == {f"/v1/{path}" for path in PATHS} | {"/v1/users/{user}"}
    schemas = found["components"]["schemas"]
    ranges = {
        name: (schemas[name]["properties"]["k"]["minimum"], schemas[name]["properties"]["k"]["maximum"])
        for name in ("Recommend", "Compare")
    }
    assert ranges == {"Recommend": (1, 100), "Compare": (1, 20)}


def test_a_category_must_be_among_those_there_are_if_there_are_any():
    asked = describe(100, False, ("mugs", "pots"))["components"]["schemas"]["Recommend"]["properties"]["categories"]
    assert asked["anyOf"][0]["contains"] == {"enum": ("mugs", "pots")} and asked["anyOf"][0]["minItems"] == 1
    assert "categories" not in describe(100, False)["components"]["schemas"]["Recommend"]["properties"]


def test_keys_are_promised_only_where_they_are_asked_for():
    assert "security" not in describe(100, False) and describe(100, True)["security"] == [{"key": []}]


def test_every_answer_has_a_type_and_real_answers_follow_it(answers, exported):
    described = describe(100, False)

    def check(path, method, response):
        content = described["paths"][path][method]["responses"][str(response.status_code)]["content"]
        (schema,) = (one["schema"] for one in content.values())
        resolved = {"$schema": jsonschema.Draft202012Validator.META_SCHEMA["$id"], **schema, **described}
        for line in response.text.splitlines():
            jsonschema.validate(json.loads(line), resolved)
        return schema["$ref"]

    async def ask(client, server):
        posts = {
            "/v1/recommend": {"history": ["i1"], "k": 2},
            "/v1/recommend/batch": {"requests": [{"k": 1}, {"k": 999}]},
            "/v1/events": {"user": "ann", "items": ["i1"]},
            "/v1/explain": {"history": ["i1"], "item": "i2"},
            "/v1/compare": {"history": ["i1"]},
        }
        found = [check(path, "post", await client.post(path, json=body)) for path, body in posts.items()]
        found += [check("/v1/items", "get", await client.get("/v1/items"))]
        found += [check("/v1/items/{item}/similar", "get", await client.get("/v1/items/i1/similar"))]
        found += [check("/v1/users/{user}", method, await client.request(method, "/v1/users/ann")) for method in USER]
        return [*found, check("/v1/recommend", "post", await client.post("/v1/recommend", json={"k": 0}))]

    found = answers(exported, ask)
    assert {ref.rpartition("/")[2].removesuffix("Answer") for ref in found} == {kind.__name__ for kind in KINDS}
