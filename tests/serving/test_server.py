import asyncio
import hashlib
import json
import shutil
import weakref

import numpy as np
import pytest

from rexjax.serving import engine as engines
from rexjax.serving import watching
from rexjax.serving.bundle import Bundle
from rexjax.serving.keys import Keys
from rexjax.serving.messages import LARGEST_WITH_IDS

SECRET = {"authorization": "Bearer s3cret"}


def test_recommendations_are_those_of_the_bundle(answers, exported):
    async def ask(client, server):
        body = {"history": ["i3", "nobody knows", "i70"], "k": 5, "exclude": ["i9"]}
        return (await client.post("/v1/recommend", json=body)), server.engine.bundle

    response, bundle = answers(exported, ask)
    history = np.full((1, bundle.length), -1, np.int32)
    history[0, -2:] = [3, 70]
    expected = bundle.recommend(history, np.asarray([[3, 70, 9]], np.int32))
    found = response.json()
    assert response.status_code == 200 and found["by"] == "history" and found["version"] == bundle.version
    assert [item["id"] for item in found["items"]] == [f"i{i}" for i in expected.ids[0][:5]]
    assert found["items"][0]["title"] == f"Thing <{expected.ids[0][0]}>"
    np.testing.assert_allclose([item["score"] for item in found["items"]], expected.scores[0][:5], atol=1e-5)
    assert found["unknown"] == ["nobody knows"]


@pytest.mark.parametrize("history", [None, [], ["nobody knows"]])
def test_who_is_not_known_gets_what_is_popular(answers, exported, history):
    async def ask(client, server):
        bundle = server.engine.bundle
        body = {"history": history, "k": 3, "exclude": [bundle.item_ids[bundle.popular.order[0]]]}
        return (await client.post("/v1/recommend", json=body)).json(), bundle

    found, bundle = answers(exported, ask)
    assert found["by"] == "popularity"
    assert [item["id"] for item in found["items"]] == [bundle.item_ids[i] for i in bundle.popular.order[1:4]]


def test_the_next_answer_knows_the_last_event(answers, exported):
    async def ask(client, server):
        who = {"user": "ann", "k": 4}
        first = (await client.post("/v1/recommend", json=who)).json()
        told = await client.post("/v1/events", json={"user": "ann", "items": ["i5", "i6"]})
        then = (await client.post("/v1/recommend", json=who)).json()
        same = (await client.post("/v1/recommend", json={"history": ["i5", "i6"], "k": 4})).json()
        return first, told.json(), then, same

    first, told, then, same = answers(exported, ask)
    assert first["by"] == "popularity" and told == {"kept": 2} and then == same and then["by"] == "history"


@pytest.mark.parametrize("history", [["i1"], []])
def test_only_what_is_allowed_is_answered(answers, exported, history):
    async def ask(client, server):
        body = {"history": history, "only": ["i1", "i2", "i3", "i9", "never heard of"], "k": 10, "exclude": ["i9"]}
        return (await client.post("/v1/recommend", json=body)).json()

    found = {item["id"] for item in answers(exported, ask)["items"]}
    assert found == ({"i2", "i3"} if history else {"i1", "i2", "i3"})


@pytest.mark.parametrize("history", [["i1"], []])
@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        ({"categories": ["mugs"]}, lambda i: i % 7 == 1),
        ({"categories": ["mugs", "beds", "never heard of"]}, lambda i: i % 7 in (1, 6)),
        ({"categories": ["mugs"], "only": ["i1", "i2", "i8", "i15"]}, lambda i: i in (1, 8, 15)),
        ({"categories": ["mugs"], "only": ["i8", "i15"], "exclude": ["i8"]}, lambda i: i == 15),
        ({"categories": None}, lambda i: True),
    ],
)
def test_answers_are_kept_to_categories(answers, exported, history, body, allowed):
    async def ask(client, server):
        bundle, everything = server.engine.bundle, {"history": history, "k": 100}
        found = [(await client.post("/v1/recommend", json=everything | more)).json() for more in (body, {})]
        return *found, bundle

    found, free, bundle = answers(exported, ask)

    def number(item):
        return int(item["id"][1:])

    ids = [number(item) for item in found["items"]]
    assert ids and all(map(allowed, ids)) and not {f"i{i}" for i in ids} & {*history}
    assert found["by"] == free["by"] == ("history" if history else "popularity")
    # those that were allowed before are still there, in their order
    before = [
        number(item) for item in free["items"] if allowed(number(item)) and item["id"] not in body.get("exclude", ())
    ]
    assert ids[: len(before)] == before


@pytest.mark.parametrize(
    ("known", "categories", "words"),
    [
        (True, ["Mugs", "tea"], "no item is of category 'Mugs' or 'tea': there are 'beds', 'lamps', 'mugs', 'pots', "),
        (True, [], "length >= 1"),
        (True, ["mugs"] * 65, "length <= 64"),
        (False, ["mugs"], "this index knows no categories: make it with --data.columns.category"),
    ],
)
def test_categories_that_cannot_be_answered_from(answers, exported, another, known, categories, words):
    body = {"categories": categories}
    response = answers(exported if known else another, lambda client, _: client.post("/v1/recommend", json=body))
    assert response.status_code == 422 and words in response.json()["error"]


def test_an_integer_may_be_written_as_json_allows(answers, exported):
    response = answers(exported, lambda client, server: client.post("/v1/recommend", content=b'{"k": 1.2e1}'))
    assert len(response.json()["items"]) == 12


def test_similar_items(answers, exported):
    async def ask(client, server):
        near = await client.get("/v1/items/i4/similar?k=3")
        return near.json(), server.engine.bundle.similar(np.asarray([4])), (await client.get("/v1/items/x/similar"))

    slash = answers(exported, lambda client, server: client.get("/v1/items/a%2Fb/c/similar"))
    assert slash.status_code == 404 and slash.json() == {"error": "no such item"}
    near, expected, unknown = answers(exported, ask)
    assert [item["id"] for item in near["items"]] == [f"i{i}" for i in expected.ids[0][:3]]
    assert unknown.status_code == 404 and unknown.json() == {"error": "no such item"}


def test_what_each_event_gave_sums_to_the_score_that_was_answered(answers, exported):
    async def ask(client, server):
        history = [f"i{i}" for i in range(30, 12, -1)]  # longer than the model looks back
        best = (await client.post("/v1/recommend", json={"history": history, "k": 1})).json()["items"][0]
        why = await client.post("/v1/explain", json={"history": history, "item": best["id"]})
        missing = [{"history": ["x"], "item": "i1"}, {"history": ["i1"], "item": "x"}]
        return best, why.json(), history, [await client.post("/v1/explain", json=body) for body in missing]

    best, why, history, missing = answers(exported, ask)
    given = [item["score"] for item in why["items"]]
    assert given == sorted(given, reverse=True) and {item["id"] for item in why["items"]} == set(history[-10:])
    assert sum(given) + why["always"] == pytest.approx(why["score"], abs=1e-4)
    assert why["score"] == pytest.approx(best["score"], abs=1e-6)  # of the rounded row, which is no unit vector
    assert [(r.status_code, r.json()["error"]) for r in missing] == [
        (404, "no item of the history is known"),
        (404, "no such item"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "no JSON"),
        (b"{", 400, "no JSON"),
        (b"\xff\xfe", 400, "no JSON"),
        (b"[]", 422, "Expected `object`, got `array`"),
        (b'{"history": "i1"}', 422, "Expected `array | null`, got `str`"),
        (b'{"history": [1]}', 422, "Expected `str`, got `int`"),
        (b'{"history": [], "k": 0}', 422, ">= 1"),
        (b'{"history": [], "k": 101}', 422, "k is 101: a whole number up to 100"),
        (b'{"history": [], "k": 1.5}', 422, "k is 1.5: a whole number up to 100"),
        (b'{"history": [], "k": 1e300}', 422, "a whole number up to 100"),
        (b'{"history": [], "k": "9"}', 422, "got `str`"),
        (b'{"history": [], "kk": 9}', 422, "unknown field `kk`"),
        (b'{"history": ["' + b"x" * 300 + b'"]}', 422, "length <= 256"),
        (b'{"history": ["' + b"x" * 2 * LARGEST_WITH_IDS + b'"]}', 413, "a body may have 524288 bytes"),
    ],
)
def test_a_bad_request_gets_its_status_and_one_sentence(answers, exported, body, status, words):
    response = answers(exported, lambda client, server: client.post("/v1/recommend", content=body))
    assert response.status_code == status and words in response.json()["error"]


@pytest.mark.parametrize("k", [1, 5, 6, 100])
def test_no_more_than_there_are_can_be_asked_for(answers, five, k):
    async def ask(client, server):
        bodies = {"history": ["i1"], "k": k}, {"history": [], "k": k}
        found = [await client.post("/v1/recommend", json=body) for body in bodies]
        return [*found, await client.get(f"/v1/items/i1/similar?k={k}")]

    found = answers(five, ask)
    if k > 5:
        assert [response.status_code for response in found] == [422] * 3
        assert all("5" in response.json()["error"] for response in found)
    else:
        assert [len(response.json()["items"]) for response in found] == [min(k, 4), k, min(k, 4)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/recommend", 405),
        ("GET", "/v1/items/i1/similar?k=x", 422),
        ("GET", "/v1/items/i1/similar?k=²", 422),
        ("GET", "/v1/items/i1/similar?k=101", 422),
        ("POST", "/v1/events", 400),
    ],
)
def test_other_mistakes(answers, exported, method, path, status):
    response = answers(exported, lambda client, server: client.request(method, path))
    assert response.status_code == status and set(response.json()) == {"error"}


def test_keys_are_asked_for_and_limited_and_never_logged(alone, exported, caplog):
    keys = Keys([f"web:{hashlib.sha256(b's3cret').hexdigest()}:1"])

    async def ask(client, server):
        await client.post("/v1/events", json={"user": "ann@example.org", "items": ["i5"]}, headers=SECRET)
        body = {"user": "ann@example.org"}
        tries = [SECRET, {}, {"authorization": "Bearer wr0ng"}, SECRET]
        found = [await client.post("/v1/recommend", json=body, headers=headers) for headers in tries]
        return found, (await client.get("/healthz")).status_code

    with caplog.at_level("INFO", logger="rexjax.serving"):
        found, health = alone(exported, ask, keys=keys)
    assert [response.status_code for response in found] == [200, 401, 401, 429] and health == 200
    assert all(set(response.json()) == {"error"} for response in found[1:])
    assert int(found[3].headers["retry-after"]) >= 1 and found[1].headers["www-authenticate"] == "Bearer"
    lines = [json.loads(record.message) for record in caplog.records if record.name == "rexjax.serving"]
    assert [(line["status"], line["key"]) for line in lines[1:]] == [
        (200, "web"),
        (401, None),
        (401, None),
        (429, None),
    ]
    for secret in ("s3cret", "wr0ng", "ann", "example.org"):
        assert secret not in caplog.text


def test_requests_at_once_are_answered_in_batches_and_each_gets_its_own(alone, exported):
    async def ask(client, server):
        def one(i):
            return client.post("/v1/recommend", json={"history": [f"i{i}"], "k": 2})

        together = await asyncio.gather(*(one(i) for i in range(200)))
        alone = [await one(i) for i in range(0, 200, 40)]
        return together, alone, (await client.get("/metrics")).text

    together, alone, metrics = alone(exported, ask)
    for batched, one in zip(together[::40], alone, strict=True):
        batched, one = batched.json(), one.json()
        assert [item["id"] for item in batched["items"]] == [item["id"] for item in one["items"]]
        # a product of another batch size rounds otherwise
        scores = [[item["score"] for item in found["items"]] for found in (batched, one)]
        np.testing.assert_allclose(*scores, atol=2e-6)
    batches = next(line for line in metrics.splitlines() if line.startswith("rexjax_batch_size_count"))
    assert float(batches.split()[1]) < 100
    assert 'rexjax_request_seconds_count{path="/v1/recommend",status="200"} 205.0' in metrics
    for name in ("rexjax_stage_seconds_count", "rexjax_best_score_count", "rexjax_index_age_seconds", "rexjax_items"):
        assert name in metrics


def test_a_full_queue_says_when_to_come_again(alone, exported, monkeypatch):
    slow = engines.batch
    monkeypatch.setattr(engines, "batch", lambda *args: (__import__("time").sleep(0.05), slow(*args))[1])

    async def ask(client, server):
        def one(i):
            return client.post("/v1/recommend", json={"history": [f"i{i}"]})

        return await asyncio.gather(*(one(i) for i in range(400)))

    found = alone(exported, ask, waiting=20)
    status = [response.status_code for response in found]
    assert set(status) == {200, 429} and status.count(200) >= 20
    assert all(int(r.headers["retry-after"]) >= 1 for r in found if r.status_code == 429)


def test_a_new_bundle_is_swapped_in_while_requests_run_and_a_bad_one_refused(
    alone, exported, another, tmp_path, monkeypatch
):
    monkeypatch.setattr(watching, "WATCH_SECONDS", 0.05)
    folder = shutil.copytree(exported, tmp_path / "bundle")
    old, new = Bundle(folder).version, Bundle(another).version

    async def until(client, version):
        statuses = set()
        for _ in range(3000):
            response = await client.post("/v1/recommend", json={"history": ["i1"]})
            statuses.add(response.status_code)
            if response.json().get("version") == version:
                break
            await asyncio.sleep(0.02)
        return statuses, response.json()["version"]

    async def ask(client, server):
        shutil.copytree(another, folder, dirs_exist_ok=True)
        swapped = await until(client, new)
        about = json.loads((folder / "bundle.json").read_text())
        about["probe"]["scores"][0][0] += 1
        (folder / "bundle.json").write_text(json.dumps(about))
        for _ in range(1200):
            await asyncio.sleep(0.05)
            metrics = (await client.get("/metrics")).text
            if 'rexjax_swaps_total{outcome="refused"} 1.0' in metrics:
                break
        after = await client.post("/v1/recommend", json={"history": ["i1"]})
        return swapped, metrics, after.json()["version"]

    (statuses, version), metrics, after = alone(folder, ask)
    assert statuses == {200} and version == new != old
    assert 'rexjax_swaps_total{outcome="done"} 1.0' in metrics and 'outcome="refused"} 1.0' in metrics
    assert after == new


def test_a_bundle_that_goes_while_it_is_read_does_not_end_the_watch_and_the_old_one_is_freed(
    alone, exported, another, tmp_path, monkeypatch
):
    monkeypatch.setattr(watching, "WATCH_SECONDS", 0.05)
    folder, read = shutil.copytree(exported, tmp_path / "bundle"), watching.Bundle

    async def until(client, line):
        for _ in range(1200):
            if line in (await client.get("/metrics")).text:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(line)

    async def ask(client, server):
        monkeypatch.setattr(watching, "Bundle", lambda folder, manifest: (folder / "gone").read_bytes())
        shutil.copytree(another, folder, dirs_exist_ok=True)
        await until(client, 'rexjax_swaps_total{outcome="refused"} 1.0')
        monkeypatch.setattr(watching, "Bundle", read)
        (folder / "bundle.json").write_text((folder / "bundle.json").read_text() + "\n")
        await client.post("/v1/recommend", json={"history": ["i1"], "categories": ["mugs"]})
        before = weakref.ref(server.engine.bundle)
        await until(client, 'rexjax_swaps_total{outcome="done"} 1.0')
        version = (await client.post("/v1/recommend", json={"history": ["i1"]})).json()["version"]
        for _ in range(100):  # the thread that has answered lets go a moment later
            if before() is None:
                break
            await asyncio.sleep(0.05)
        return version, before()

    assert alone(folder, ask) == (Bundle(another).version, None)


def test_ready_only_while_it_takes_questions(alone, exported):
    async def ask(client, server):
        before = (await client.get("/readyz")).status_code
        server.ready = False
        return before, (await client.get("/readyz")).status_code

    assert alone(exported, ask) == (200, 503)
