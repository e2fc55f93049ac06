import hashlib
import json

import pytest

from rexjax.serving.keys import Keys
from rexjax.serving.messages import BATCH, LARGEST_BATCH, MOST_REQUESTS


def lines(response):
    return [json.loads(line) for line in response.text.splitlines()]


def test_each_request_gets_the_line_that_it_would_get_alone(answers, exported):
    requests = [{"history": [f"i{i}"], "k": 3} for i in range(150)] + [{"k": 2}, {"k": 999}, {"categories": ["tea"]}]

    async def ask(client, server):
        alone = [await client.post("/v1/recommend", json=requests[i]) for i in (0, 70, 149, 150, 151, 152)]
        return await client.post(BATCH, json={"requests": requests}), alone

    batch, alone = answers(exported, ask)
    assert batch.status_code == 200 and batch.headers["content-type"] == "application/x-ndjson"
    found = lines(batch)
    assert [line["index"] for line in found] == list(range(len(requests)))
    for index, response in zip((0, 70, 149, 150, 151, 152), alone, strict=True):
        line, expected = found[index], response.json()
        if response.status_code == 200:
            assert [item["id"] for item in line["items"]] == [item["id"] for item in expected["items"]]
            assert line["by"] == expected["by"] and line["version"] == expected["version"]
        else:
            assert line == {"index": index, "status": 422} | expected


@pytest.mark.parametrize(
    "body, status",
    [
        ({"requests": []}, 422),
        ({"requests": [{}] * (MOST_REQUESTS + 1)}, 422),
        ({"requests": [{"k": 1}], "more": 1}, 422),
        ({"requests": [{"user": "x" * 200}] * (LARGEST_BATCH // 200)}, 413),
    ],
)
def test_a_batch_has_bounds(answers, five, body, status):
    response = answers(five, lambda client, server: client.post(BATCH, json=body))
    assert response.status_code == status and set(response.json()) == {"error"}


def test_a_batch_costs_a_key_as_much_as_its_requests(alone, five):
    keys = Keys([f"web:{hashlib.sha256(b's').hexdigest()}:5"])

    async def ask(client, server):
        client.headers["authorization"] = "Bearer s"
        first = await client.post(BATCH, json={"requests": [{"k": 1}] * 30})
        then = await client.post("/v1/recommend", json={"k": 1})
        return first, then

    first, then = alone(five, ask, keys=keys)
    assert len(lines(first)) == 30 and then.status_code == 429 and int(then.headers["retry-after"]) >= 4
