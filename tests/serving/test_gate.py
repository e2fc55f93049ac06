import asyncio

import httpx
import pytest

from rexjax.serving.gate import Gate

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"host": "localhost:80"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "shop.example"}, 403),
        ({"host": ""}, 200),
        ({"host": "shop.example:9]x["}, 403),
        ({"origin": "http://[x"}, 403),
        ({"origin": "http://[x", "host": ""}, 403),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:8001"}, 403),
        ({"origin": "https://shop.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_pages_of_other_sites_and_other_names_are_refused(headers, status):
    async def ask():
        transport = httpx.ASGITransport(Gate(app, LOCAL))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return (await client.get("/", headers=headers)).status_code

    assert asyncio.run(ask()) == status


def test_behind_keys_any_name_is_right():
    async def ask():
        transport = httpx.ASGITransport(Gate(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return (await client.get("/")).status_code

    assert asyncio.run(ask()) == 200
