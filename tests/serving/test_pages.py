import asyncio
import re

import pytest

from rexjax.serving import pages
from rexjax.serving.keys import Keys


def test_the_page_loads_nothing_from_elsewhere(answers, exported):
    async def ask(client, server):
        page = await client.get("/")
        named = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
        named += re.findall(r'from "\./([^"]+)"', (await client.get("/page.js")).text)
        return page, {name: await client.get("/" + name) for name in named}

    page, loaded = answers(exported, ask)
    script = "text/javascript"
    kinds = {"page.css": "text/css", "page.js": script, "elements.js": script, "icon.svg": "image/svg+xml"}
    assert {name: file.headers["content-type"].split(";")[0] for name, file in loaded.items()} == kinds
    assert page.headers["content-type"].startswith("text/html")
    for file in (page, *loaded.values()):
        assert file.status_code == 200 and file.headers["content-security-policy"].startswith("default-src 'self';")
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", file.text)
    assert not re.search(r"<style|style=|<script>| on\w+=", page.text)


def test_items_are_found_by_title_or_id_the_most_popular_first(answers, exported):
    async def ask(client, server):
        def get(**query):
            return client.get("/v1/items", params=query)

        found = [await get(q=text, k=3) for text in ("", "THING", "i12", "<7", "nothing has this")]
        return [[item["id"] for item in one.json()["items"]] for one in found], server.engine.bundle, await get(k=101)

    (everything, things, ids, title, nothing), bundle, wrong = answers(exported, ask)
    popular = [bundle.item_ids[item] for item in bundle.popular.order]
    assert everything == things == popular[:3] and nothing == []
    assert ids == [name for name in popular if "i12" in name][:3]
    assert title == [name for name in popular if name.startswith("i7")][:3]
    assert wrong.status_code == 422


def test_all_models_answer_with_their_time_and_bytes_and_what_is_served_as_it_is_served(answers, compared):
    async def ask(client, server):
        body = {"history": ["i3", "nobody knows", "i70"], "k": 4}
        both = [await client.post(path, json=body) for path in ("/v1/compare", "/v1/recommend")]
        return [one.json() for one in both], server.engine.bundle

    (found, served), bundle = answers(compared, ask)
    models = found["models"]
    assert [one["name"] for one in models] == ["teacher", "student", "student_int8"]
    assert [one["bytes"] for one in models] == [one.bytes_resident for one in bundle.compared] + [bundle.bytes_resident]
    assert all(one["ms"] > 0 and len(one["items"]) == 4 for one in models)
    assert models[-1]["items"] == served["items"] and found["version"] == bundle.version
    assert models[0]["items"] != models[1]["items"]
    assert not {"i3", "i70"} & {item["id"] for one in models for item in one["items"]}


def test_where_nothing_is_there_to_compare_with_only_what_is_served_answers(answers, exported):
    async def ask(client, server):
        history = [f"i{i}" for i in range(30)]  # longer than the model looks back
        return (await client.post("/v1/compare", json={"history": history})).json()

    (one,) = answers(exported, ask)["models"]
    assert one["name"] == "student_int8" and len(one["items"]) == 10


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"history": []}, 422, "length >= 1"),
        ({"history": ["nobody knows"]}, 404, "no item of the history is known"),
        ({"history": ["i1"], "k": 21}, 422, "k is 21: a whole number up to 20"),
        ({"history": ["i1"], "user": "ann"}, 422, "unknown field"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_told_why(answers, exported, body, status, words):
    response = answers(exported, lambda client, server: client.post("/v1/compare", json=body))
    assert response.status_code == status and words in response.json()["error"]


def test_comparisons_take_turns_and_the_line_has_an_end(answers, compared, monkeypatch):
    monkeypatch.setattr(pages, "MOST_WAITING", 3)
    running, most, right = [], [], pages.side_by_side

    def watched(*args):
        running.append(1)
        most.append(len(running))
        found = right(*args)
        running.pop()
        return found

    monkeypatch.setattr(pages, "side_by_side", watched)

    async def ask(client, server):
        return await asyncio.gather(*(client.post("/v1/compare", json={"history": ["i1"]}) for _ in range(8)))

    found = answers(compared, ask)
    status = [one.status_code for one in found]
    assert status.count(200) == 3 and status.count(429) == 5 and set(most) == {1}
    assert all(int(one.headers["retry-after"]) >= 1 for one in found if one.status_code == 429)


def test_what_asks_for_keys_lets_everybody_see_the_page_and_nobody_the_items(alone, exported):
    async def ask(client, server):
        compare = await client.post("/v1/compare", json={"history": ["i1"]})
        return [(await client.get(path)).status_code for path in ("/", "/page.js", "/v1/items")], compare.status_code

    assert alone(exported, ask, keys=Keys([f"web:{'0' * 64}"])) == ([200, 200, 401], 401)
