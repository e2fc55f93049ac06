import datetime
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rexjax.data import features
from rexjax.data.features import Bag, Categorical, Cross, Numeric
from rexjax.data.features.declared import check_names, declared
from rexjax.errors import UserError
from tests.reference import features as slow

REQUESTS = 10_000
DECLARED = declared(
    [
        "country",
        Categorical("size", min_count=3, size=20, oov=8),
        Categorical("device", hashed=50, default="desktop"),
        Categorical("member"),
        Numeric("price"),
        Numeric("price", "log", 12, name="price_log"),
        Numeric("age", "standard"),
        Numeric("age", buckets=5, name="age_group", default=30.0),
        Bag("genres", weights="shares", most=4, oov=3),
        Bag("tags", ",", most=3, min_count=2),
        Cross(("country", "device"), min_count=2),
    ]
)


def frame(rows, seed):
    """Raw values of many kinds; a fifth of each column is missing."""
    rng = np.random.default_rng(seed)
    genres = [[f"g{n}" for n in rng.integers(0, 30, rng.integers(0, 6))] for _ in range(rows)]
    table = pd.DataFrame(
        {
            "country": rng.choice(["France", " Spain ", "Übersee", "日本", "", "nan"], rows),
            "size": rng.zipf(1.5, rows).clip(0, 10**6).astype(float),
            "device": rng.choice(["phone", "tablet", "tv"], rows),
            "member": rng.random(rows) < 0.5,
            "price": np.round(rng.lognormal(2, 2, rows), 2),
            "age": rng.normal(40, 12, rows).astype(np.float32),
            "genres": pd.Series(genres),
            "shares": pd.Series([list(rng.random(len(row))) for row in genres]),
            "tags": [",".join(rng.choice(["a", "b", "c", "d"], rng.integers(0, 5))) for _ in range(rows)],
        }
    ).astype({"member": object})
    for name in ("country", "size", "device", "member", "price", "age"):
        table.loc[rng.random(rows) < 0.2, name] = None
    return table


@pytest.fixture(scope="module")
def fitted():
    return features.fit(DECLARED, frame(3000, 0))


def as_json(value):
    """A value as a client sends it."""
    if isinstance(value, list):
        return [as_json(part) for part in value]
    if value is None or isinstance(value, float | np.floating) and np.isnan(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def test_one_by_one_online_equals_columnar_offline(fitted):
    asked = frame(REQUESTS, 1)
    offline = fitted.transform(asked)
    online = features.from_json(json.loads(json.dumps(fitted.as_dict())))
    rows = [{name: as_json(value) for name, value in row.items()} for row in asked.to_dict("records")]
    found = [online.of_request(json.loads(json.dumps(row))) for row in rows]
    differ = {
        name: int((np.concatenate([row[name] for row in found]) != offline[name]).reshape(REQUESTS, -1).any(1).sum())
        for name in offline
    }
    assert differ == dict.fromkeys(offline, 0)
    assert {name: array.dtype for name, array in offline.items()} == {name: row.dtype for name, row in found[0].items()}


@pytest.mark.parametrize("kind", ["arrow", "parts", "dictionary", "mapping"])
def test_every_kind_of_frame_is_read_alike(fitted, kind):
    asked = frame(50, 2)
    table = pa.Table.from_pandas(asked)
    kinds = {
        "arrow": table,
        "parts": pa.concat_tables([table[:20], table[20:]]),
        "dictionary": table.set_column(0, "country", table["country"].dictionary_encode()),
        "mapping": {name: table[name].to_pylist() for name in table.column_names},
    }
    expected, found = fitted.transform(asked), fitted.transform(kinds[kind])
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_ids_are_those_of_a_loop_over_the_definitions(fitted):
    training, asked = frame(3000, 0), frame(200, 3)
    found = fitted.transform(asked)
    sizes = [slow.spell(as_json(value)) for value in asked["size"]]
    known = slow.vocabulary([slow.spell(as_json(value)) for value in training["size"]], 3, 20)
    assert found["size"].tolist() == [slow.category(text, known, 8) for text in sizes]
    devices = [slow.spell(value) or "desktop" for value in asked["device"]]
    assert found["device"].tolist() == [slow.category(text, [], 50) for text in devices]
    prices = training["price"].dropna().astype(float)
    bounds = sorted({float(np.quantile(prices, part / 32)) for part in range(1, 32)})
    assert found["price"].tolist() == [slow.bucket(price, bounds) for price in asked["price"].astype(float)]
    ages = training["age"].dropna().astype(float)
    expected = (asked["age"].astype(float) - ages.mean()) / ages.std(ddof=0)
    np.testing.assert_allclose(found["age"], expected.fillna(0), rtol=1e-6, atol=1e-7)
    assert found["age_missing"].tolist() == asked["age"].isna().astype(float).tolist()


def test_arrays_say_their_kinds_and_stay_below_their_cardinalities(fitted):
    found = fitted.transform(frame(500, 4))
    described = {array.name: array for array in fitted.arrays()}
    assert list(described) == list(found)
    for name, array in described.items():
        values = found[name]
        assert values.dtype == (np.int32 if array.kind in ("ids", "bag") else np.float32)
        assert values.shape == ((500, array.width) if array.kind in ("bag", "weights") else (500,))
        if array.cardinality:
            assert -1 * (array.kind == "bag") <= values.min() and values.max() < array.cardinality


def test_unknown_and_missing_values_are_counted():
    fitted = features.fit(declared(["a", Bag("b", most=3)]), {"a": ["x", "y"], "b": ["p|q", "p"]})
    asked = {"a": ["x", "new", None, "new"], "b": ["p|new|q", None, "", "new"]}
    facts = fitted.counts(fitted.transform(asked))
    assert facts["a"] == {"kind": "categorical", "cardinality": 4, "out_of_vocabulary": 2 / 4, "missing": 1 / 4}
    assert facts["b"] == {"kind": "bag", "cardinality": 4, "out_of_vocabulary": 2 / 4, "missing": 2 / 4}


@pytest.mark.parametrize(
    ("values", "spelt"),
    [
        ([1, 2**60], ["1", str(2**60)]),
        ([1.0, -0.0, 2.5, 1e20], ["1", "0", "2.5", "1e+20"]),
        (np.array([0.1, 3], np.float32), ["0.1", "3"]),
        ([True, None], ["true", None]),
        (["a ", "", "NaN"], ["a", None, None]),
        ([datetime.date(2024, 2, 29)], ["2024-02-29"]),
        ([datetime.datetime(2024, 2, 29, 5)], ["2024-02-29T05:00:00"]),
        (pa.array(["1.50", "2.00"]).cast(pa.decimal128(5, 2)), ["1.5", "2"]),
    ],
)
def test_values_are_spelt_as_a_person_writes_them(values, spelt):
    known = [text for text in spelt if text is not None]
    fitted = features.fit(declared(["v"]), {"v": known})
    expected = fitted.transform({"v": spelt})["v"]
    assert fitted.transform({"v": values})["v"].tolist() == expected.tolist()
    assert 0 not in expected


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"price": "cheap"}, "'cheap', which is no number"),
        ({"price": [1.0]}, "write numbers"),
        ({"price": "1e999"}, "infinite"),
        ({"country": ["France"]}, "declare lists as Bag"),
        ({"contry": "France"}, "no feature reads 'contry'"),
        ({"genres": ["g1", "g2"], "shares": [0.5]}, "2 values in 'genres' and 1 weights in 'shares'"),
        ({"genres": [["g1"]]}, "write text"),
    ],
)
def test_what_a_request_may_not_hold_is_refused(fitted, request_, said):
    with pytest.raises(UserError, match=said):
        fitted.of_request(request_)


def test_an_absent_column_is_missing_or_refused_as_declared():
    plan = [Categorical("a", default="y"), Categorical("b"), Categorical("c", required=True)]
    fitted = features.fit(plan, {name: ["x", "y"] for name in "abc"})
    found = fitted.of_request({"c": "x"})
    assert [found[name].item() for name in "abc"] == [3, 1, 2]
    with pytest.raises(UserError, match="required feature 'c' is absent"):
        fitted.of_request({"a": "x"})


@pytest.mark.parametrize(
    ("plan", "columns", "said"),
    [
        (["a", "b"], {"c": ["x"]}, "no feature column 'a', 'b'"),
        ([Categorical("a", min_count=2)], {"a": ["x", "y"]}, "no value in 2 training rows"),
        ([Numeric("a")], {"a": [None, "nan"]}, "no value in the training part"),
        ([Numeric("a")], {"a": ["4,5"]}, "'4,5'"),
        ([Categorical("a")], {"a": np.array([1, "x"], object)}, "write one type of values"),
    ],
)
def test_what_cannot_be_fitted_is_refused(plan, columns, said):
    with pytest.raises(UserError, match=said):
        features.fit(declared(plan), columns)


def test_a_cross_of_too_many_values_is_refused_by_bytes():
    many = [f"{n:01000d}" for n in range(700)]
    columns = {"a": many * 100, "b": [str(n) for n in range(100) for _ in range(700)]}
    with pytest.raises(UserError, match="'a_x_b' has 70,000 distinct values, 70 MB of text, and at most 67 MB"):
        features.fit([Cross(("a", "b"))], columns)
    hashed = features.fit([Cross(("a", "b"), hashed=1000)], columns)
    assert hashed.arrays()[0].cardinality == 1002


def test_names_are_distinct():
    for plan in (["a", Categorical("b", name="a")], ["user"], [Numeric("a", "standard"), "a_missing"]):
        with pytest.raises(UserError, match="several features are called"):
            check_names(declared(plan))
    check_names(declared(["a", Numeric("a", name="b")]))
