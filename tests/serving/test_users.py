"""Users of the store over HTTP: what is kept of them, its end, and who may ask."""

import hashlib

import pytest

from rexjax.serving.keys import Keys
from rexjax.serving.store import Unavailable


def line(name, scopes):
    return f"{name}:{hashlib.sha256(name.encode()).hexdigest()}:{scopes}"


def test_a_user_is_read_and_erased(five, alone):
    async def ask(client, server):
        await client.post("/v1/events", json={"user": "ann/1", "items": ["i1", "i2"]})
        kept = (await client.get("/v1/users/ann/1")).json()["events"]
        assert [event["item"] for event in kept] == ["i1", "i2"]
        assert (await client.post("/v1/recommend", json={"user": "ann/1", "k": 2})).json()["by"] == "history"
        assert (await client.delete("/v1/users/ann/1")).json() == {"erased": 2}
        assert (await client.get("/v1/users/ann/1")).json() == {"events": []}
        assert (await client.post("/v1/recommend", json={"user": "ann/1", "k": 2})).json()["by"] == "popularity"

    alone(five, ask)


@pytest.mark.parametrize("key, expected", [("shop", (200, 403)), ("office", (403, 200)), ("nobody", (401, 401))])
def test_a_key_may_what_its_scopes_say(five, alone, key, expected):
    async def ask(client, server):
        client.headers["authorization"] = f"Bearer {key}"
        told = await client.post("/v1/events", json={"user": "ann", "items": ["i1"]})
        read = await client.get("/v1/users/ann")
        return told.status_code, read.status_code

    assert alone(five, ask, keys=Keys([line("shop", "recommend+events"), line("office", "users")])) == expected


def test_a_store_that_does_not_answer_is_said_and_histories_are_answered(five, alone, monkeypatch):
    async def ask(client, server):
        def fails(*arguments):
            raise Unavailable("the store of histories does not answer: database is locked")

        for name in ("append", "history", "events", "erase"):
            monkeypatch.setattr(server.store, name, fails)
        by_user = (await client.post("/v1/recommend", json={"user": "ann", "k": 2})).json()
        assert by_user["by"] == "popularity" and by_user["store"] == "does not answer" and len(by_user["items"]) == 2
        by_history = (await client.post("/v1/recommend", json={"history": ["i1"], "k": 2})).json()
        assert by_history["by"] == "history" and "store" not in by_history
        told = await client.post("/v1/events", json={"user": "ann", "items": ["i1"]})
        assert told.status_code == 503 and told.headers["retry-after"] == "2"
        assert "rexjax_store_failures_total 2.0" in (await client.get("/metrics")).text
        said = (await client.get("/readyz?verbose")).json()
        assert said["ready"] and said["store"] == "answers"

    alone(five, ask)
