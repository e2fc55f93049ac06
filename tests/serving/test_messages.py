import msgspec
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from rexjax.serving import messages


def of(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


@pytest.mark.parametrize(("query", "k"), [("", 10), ("k=1", 1), ("k=20", 20), ("k=007", 7)])
def test_a_number_of_a_query(query, k):
    assert messages.number(of(query), 20) == k


@pytest.mark.parametrize("query", ["k=0", "k=21", "k=-1", "k=1.0", "k=", "k=²", "k=x"])
def test_what_is_no_such_number_is_refused(query):
    with pytest.raises(HTTPException, match="k must be a number from 1 to 20"):
        messages.number(of(query), 20)


def test_a_whole_number_of_a_body():
    assert messages.whole(2e1, 20) == 20 and isinstance(messages.whole(1.0, 20), int)
    for k in (20.5, 21, 1e300):
        with pytest.raises(HTTPException, match="a whole number up to 20"):
            messages.whole(k, 20)


@pytest.mark.parametrize("kind", [messages.Recommend, messages.Events, messages.Explain, messages.Compare])
def test_no_body_may_have_what_is_not_asked_for(kind):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"history": ["i1"], "item": "i1", "user": "ann", "items": ["i1"], "x": 1}', type=kind)
