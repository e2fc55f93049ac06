import string

import ibis
import pyarrow as pa
import pytest

from rexjax.config import Columns
from rexjax.data.numbers import missing
from rexjax.errors import UserError
from tests.data.cleaning import numbered_log, raw, run, table


@pytest.mark.parametrize(
    ("where", "kept"),
    [("n > 0", [1, 3]), ("n != 0", [1, 3, None]), ("n >= 0 and item_id != 'i0'", [0, 3])],
)
@pytest.mark.parametrize("numbers", [[1, 0, 3, None], ["1", "0", " 3.0", " "], [1.0, 0.0, 3.0, float("nan")]])
def test_rows_are_kept_where_the_conditions_hold_and_counted(where, kept, numbers):
    found, con = run(numbered_log(numbers), where=where)
    places = {1: "i0", 0: "i1", 3: "i2", None: "i3"}
    assert [item for _, item, _ in raw(found, con)] == sorted(places[number] for number in kept)
    assert found.steps[1] | {"step": f"not {where}", "removed": 4 - len(kept)} == found.steps[1]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (["5", "n/a"], "column 'n' of the log holds 'n/a' in row 2, which is no number"),
        (["3,5", "n/a"], "'3,5' in row 1"),
        (["5", "Infinity"], "'Infinity' in row 2"),
        ([5.0, float("inf")], "'inf' in row 2"),
        (["1e999", "1"], "'1e999' in row 1"),
        (["0x10", "1d"], "'0x10' in row 1"),
    ],
)
@pytest.mark.parametrize("settings", [{"where": "n > 0"}, {"min_rating": 1.0, "columns": Columns(rating="n")}])
def test_what_should_be_a_number_and_is_none_is_named_with_its_row(numbers, words, settings):
    with pytest.raises(UserError, match=words):
        run(numbered_log(numbers), **settings)


@pytest.mark.parametrize(
    "numbers",
    [[5.0, float("nan"), None, 3.0], ["5", "NaN", "", "3.0"], ["5.0", " nan", None, "+3"], [5, None, None, 3]],
)
def test_a_missing_rating_is_dropped_and_counted_and_never_passes(numbers):
    found, con = run(numbered_log(numbers), min_rating=4.0, columns=Columns(rating="n"))
    assert [item for _, item, _ in raw(found, con)] == ["i0"]
    assert [(step["step"], step["removed"]) for step in found.steps if step["removed"]] == [
        ("missing rating", 2),
        ("rating below 4", 1),
    ]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([10.0, float("nan"), None, 30.0]),
        ["10", "NaN", "", "30.0"],
        ["1970-01-01 00:00:10", " nan", None, "1970-01-01 00:00:30"],
        [10, None, None, 30],
    ],
)
def test_a_missing_time_is_dropped_and_counted(times):
    log = pa.table({"user_id": ["u"] * 4, "item_id": ["a", "b", "c", "d"], "timestamp": times})
    found, con = run(log)
    assert [(item, time) for _, item, time in raw(found, con)] == [("a", 10.0), ("d", 30.0)]
    assert found.steps[1] | {"removed": 2} == found.steps[1]


def test_text_is_missing_where_stripped_it_is_empty_or_nan():
    bare = ["", "nan", "+NaN", "-NAN", "+-nan", "nan1", "n an", "+", "0", "none", "\u00a0", "\u017fnan", "nan\nnan"]
    texts = [before + text + after for text in bare for before in ("", *string.whitespace) for after in ("", " \n")]
    log = ibis.duckdb.connect().create_table("log", pa.table({"n": [None, *texts]}))
    stripped = [text.strip(string.whitespace).lower() for text in texts]
    expected = [True, *(text in ("", "nan", "+nan", "-nan") for text in stripped)]
    assert log.select(missing=missing(log.n)).to_pyarrow()["missing"].to_pylist() == expected


@pytest.mark.parametrize("sessions", [["a", "b", None, None], ["a", "b", " ", "NaN"], [1.0, 2.0, float("nan"), None]])
def test_events_without_a_session_are_refused_where_sessions_are_used(sessions):
    log = numbered_log(sessions)
    words = r"column 'n' of the log holds no session in row 3 \(2 rows have none\)"
    with pytest.raises(UserError, match=words):
        run(log, split="last_session", columns=Columns(session="n"))
    run(log, columns=Columns(session="n"))


@pytest.mark.parametrize("kind", ["", "zzz"])
def test_the_last_of_several_rows_of_an_item_counts_as_a_whole(kind):
    items = pa.table({"item_id": ["a", "a", "b"], "title": ["Zulu", "Aardvark", "B"], "kind": ["aaa", kind, "k"]})
    found, con = run([("u", "a", 1), ("u", "b", 2)], items, columns=Columns(category="kind"))
    rows = {row["item_id"]: row for row in con.to_pyarrow(found.items).to_pylist()}
    assert (rows["a"]["title"], rows["a"]["category"], rows["a"]["row"]) == ("Aardvark", kind, 1)
    assert found.repeated == 1


def test_a_log_gives_the_latest_title_of_an_item_not_the_last_in_the_alphabet():
    log = table(
        [("u", "a", 5, "Newer", "n"), ("v", "a", 9, None, "-"), ("w", "a", 2, "Zero", "z"), ("v", "b", 5, "B", "b")],
        ("user_id", "item_id", "timestamp", "title", "kind"),
    )
    found, con = run(log, "in the log", columns=Columns(category="kind"), strict=True)
    rows = {row["item_id"]: (row["title"], row["category"]) for row in con.to_pyarrow(found.items).to_pylist()}
    assert rows == {"a": ("Newer", "n"), "b": ("B", "b")}


def test_equal_times_under_global_time_are_named():
    log = [(user, item, 1_704_067_200) for user in range(4) for item in "abc"]
    with pytest.raises(UserError, match="100% of the events have the same time .2024-01-01 00:00:00.*last_session"):
        run(log, split="global_time")


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["2026-01-31", "yesterday"], "'yesterday' in row 2, which is no time"),
        ([1.0, float("inf")], "'inf' in row 2, which is no time"),
        (["1", "inf"], "'inf' in row 2, which is no time"),
    ],
)
def test_a_time_that_is_none_is_named_with_its_row(times, words):
    log = pa.table({"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": times})
    with pytest.raises(UserError, match=words):
        run(log)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"columns": Columns(user="who")},
            r"no column 'who' \(it has user_id, item_id, timestamp\).*--data.columns.user",
        ),
        ({"columns": Columns(item="what")}, "no column 'what'.*--data.columns.item"),
        ({"columns": Columns(time="when")}, "no column 'when'.*--data.columns.time"),
        ({"columns": Columns(rating="stars"), "min_rating": 3.0}, "no column 'stars'.*--data.columns.rating"),
        ({"columns": Columns(session="visit"), "split": "last_session"}, "no column 'visit'.*--data.columns.session"),
        ({"text": ("title", "brand")}, "items has no column 'brand'.*--data.text"),
        ({"columns": Columns(category="kind")}, "items has no column 'kind'.*--data.columns.category"),
    ],
)
def test_a_column_that_is_missing_is_named(settings, words):
    with pytest.raises(UserError, match=words):
        run([("u", "a", 1)], **settings)


@pytest.mark.parametrize("text", [("title",), ("user_id", "title")])
def test_a_log_without_the_text_it_should_carry_is_refused(text):
    with pytest.raises(UserError, match="there is no items file, and the log has no text column"):
        run([("u", "a", 1)], "in the log", text=text)


@pytest.mark.parametrize("items", [None, "in the log"])
def test_items_may_be_ids_alone(items):
    found, con = run([("u", "a", 1), ("u", "b", 2)], items, text=())
    assert con.to_pyarrow(found.items).select(["title", "text"]).to_pydict() == {"title": ["a", "b"], "text": ["", ""]}


def test_an_empty_log_is_refused():
    empty = pa.table(
        {"user_id": pa.array([], "int64"), "item_id": pa.array([], "int64"), "timestamp": pa.array([], "int64")}
    )
    with pytest.raises(UserError, match="the log is empty"):
        run(empty, pa.table({"item_id": pa.array([], "int64"), "title": pa.array([], "string")}))
