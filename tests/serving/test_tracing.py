import asyncio
import json
import logging

import pytest

from rexjax.serving import run
from rexjax.serving.tracing import ABOUT, Traced, answered_by


def answer_to(headers, app=None):
    """Headers of the answer to a request with ``headers``, and what lines of the log say meanwhile."""
    sent, said = [], []

    async def answers(scope, receive, send):
        answered_by(scope, "v2")
        said.append(ABOUT.get())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})

    async def send(message):
        sent.append(message)

    asyncio.run(Traced(app or answers, lambda: "v1")({"type": "http", "headers": headers}, None, send))
    return dict(sent[0]["headers"]), said[0]


def test_a_plain_name_is_kept_and_the_version_is_that_of_the_bundle_that_answered():
    found, said = answer_to([(b"x-request-id", b"order-7.a_B")])
    assert found == {b"a": b"b", b"x-request-id": b"order-7.a_B", b"x-model-version": b"v2"}
    assert said == {"request": "order-7.a_B", "version": "v2"}


@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 65, b'"}', b"a\nb", "ü".encode()])
def test_another_name_is_replaced(given):
    names = {answer_to([(b"x-request-id", given)])[0][b"x-request-id"] for _ in range(3)}
    assert len(names) == 3 and all(len(name) == 32 and name.isalnum() for name in names)


def test_every_line_of_a_request_names_it_also_that_of_an_error():
    line = run.Line()

    async def fails():
        ABOUT.set({"request": "r1", "version": "v1"})
        try:
            raise ValueError("no")
        except ValueError:
            record = logging.getLogger("uvicorn.error").makeRecord(
                "uvicorn.error", logging.ERROR, "f", 1, "failed", (), __import__("sys").exc_info()
            )
        return json.loads(line.format(record))

    found = asyncio.run(fails())
    assert (found["request"], found["version"], found["said"]) == ("r1", "v1", "failed")
    assert "ValueError: no" in found["error"]
