import datetime
import hashlib

import numpy as np
import pyarrow as pa
import pytest

from rexjax.config import Columns
from rexjax.errors import UserError
from tests.data.cleaning import numbered_log, raw, run, table
from tests.reference.data import k_core


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("user_events", "item_events"), [(1, 1), (3, 1), (1, 3), (3, 4), (5, 5)])
def test_k_core_is_that_of_a_loop_over_the_definition(seed, user_events, item_events):
    rng = np.random.default_rng(seed)
    pairs = sorted({(int(u), int(i)) for u, i in zip(rng.zipf(1.3, 600) % 60, rng.zipf(1.2, 600) % 50, strict=True)})
    expected = k_core(pairs, user_events, item_events)
    log = [(u, i, t) for t, (u, i) in enumerate(pairs)]
    if not expected:
        with pytest.raises(UserError, match="cleaning removed every interaction"):
            run(log, min_user_events=user_events, min_item_events=item_events)
        return
    found, con = run(log, min_user_events=user_events, min_item_events=item_events)
    assert [(u, i) for u, i, _ in raw(found, con)] == [(str(u), str(i)) for u, i in sorted(expected)]
    assert found.steps[-1]["interactions"] == len(expected)


def test_a_core_that_needs_several_rounds_is_reached_and_counted():
    # a chain: each round takes one user and with it the next item's support
    pairs = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3)] + [(u, i) for u in (8, 9) for i in (8, 9)]
    found, con = run([(u, i, 0) for u, i in pairs], min_user_events=2, min_item_events=2)
    assert {(u, i) for u, i, _ in raw(found, con)} == {("8", "8"), ("8", "9"), ("9", "8"), ("9", "9")}
    rounds = [step for step in found.steps if "core" in step["step"]]
    assert len(rounds) > 1
    assert sum(step["removed"] for step in found.steps) == found.steps[0]["interactions"] - 4


REPEATED = [("u", "a", 3), ("u", "a", 1), ("u", "b", 2), ("u", "a", 1), ("v", "a", 9)]


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        ("first", [("u", "a", 1), ("u", "b", 2), ("v", "a", 9)]),
        ("keep", [("u", "a", 1), ("u", "b", 2), ("u", "a", 3), ("v", "a", 9)]),
    ],
)
def test_repeats_are_dropped_or_kept_but_duplicates_never_stay(repeats, expected):
    assert raw(*run(REPEATED, repeats=repeats)) == expected


@pytest.mark.parametrize(("least", "kept"), [(0.0, 4), (3.5, 2), (4.0, 2), (5.0, 1)])
def test_low_ratings_are_dropped(least, kept):
    log = table(
        [(1, 1, 1, 5.0), (1, 2, 2, 4.0), (2, 1, 3, 3.0), (2, 2, 4, 1.0)], ("user_id", "item_id", "timestamp", "r")
    )
    found, con = run(log, min_rating=least, columns=Columns(rating="r"))
    assert len(raw(found, con)) == kept


def test_rows_without_user_item_or_time_are_dropped_and_counted():
    log = table(
        [("u", "a", 1), (None, "a", 2), ("u", None, 3), ("u", "b", None), ("u", "b", 5)],
        ("user_id", "item_id", "timestamp"),
    )
    found, con = run(log, [("a", "A"), ("b", "B")])
    assert raw(found, con) == [("u", "a", 1), ("u", "b", 5)]
    assert found.steps[1] | {"removed": 3} == found.steps[1]


def test_the_order_is_user_then_time_then_place_in_the_file():
    rng = np.random.default_rng(0)
    log = [(int(rng.integers(20)), item, int(rng.integers(4))) for item in range(300)]
    found, con = run(log)
    expected = [log[at] for at in sorted(range(300), key=lambda at: (log[at][0], log[at][2], at))]
    assert raw(found, con) == [(str(user), str(item), time) for user, item, time in expected]


def test_ids_are_dense_and_those_of_items_follow_the_md5_of_the_raw_id():
    log = [(f"u{user}", f"i{(user * 7 + step) % 30}", step) for user in range(12) for step in range(5)]
    found, con = run(log)
    items, users = con.to_pyarrow(found.items).to_pydict(), con.to_pyarrow(found.users).to_pydict()
    assert items["item"] == list(range(len(items["item"])))
    assert items["item_id"] == sorted({i for _, i, _ in log}, key=lambda i: hashlib.md5(i.encode()).hexdigest())
    assert users["user_id"] == sorted({u for u, _, _ in log}, key=lambda user: (len(user), user))
    assert items["title"] == [f"title {i}" for i in items["item_id"]]
    # `row` leads back to the line of the items file
    lines = sorted({i for _, i, _ in log})
    assert [lines[row] for row in items["row"]] == items["item_id"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("Lamp", "Orrin", "warm"), "Lamp. Orrin. warm"),
        (("Lamp", None, "warm"), "Lamp. warm"),
        ((None, "Orrin", None), "Orrin"),
        ((" Lamp ", "", "  "), "Lamp"),
        ((None, None, None), ""),
    ],
)
def test_text_is_joined_from_several_columns(texts, expected):
    schema = pa.schema([("item_id", pa.string()), *((name, pa.string()) for name in ("title", "brand", "about"))])
    names = schema.names
    items = pa.Table.from_pylist([dict(zip(names, ("a", *texts), strict=True))], schema=schema)
    found, con = run([("u", "a", 1)], items, text=("title", "brand", "about"))
    row = con.to_pyarrow(found.items).to_pylist()[0]
    assert row["text"] == expected
    assert row["title"] == (texts[0] or "").strip()


def moments(kind):
    """Three moments, a second apart, the middle one first."""
    start = datetime.datetime(2026, 1, 31, 12)
    at = [start + datetime.timedelta(seconds=s) for s in (1, 0, 2)]
    return {
        "int": [int(t.timestamp()) for t in at],
        "float": [t.timestamp() + 0.5 for t in at],
        "ISO": [t.isoformat() for t in at],
        "ISO with a space": [t.isoformat(" ") for t in at],
        "numbers as text": [str(t.timestamp()) for t in at],
        "timestamp": at,
        "date": [start.date() + datetime.timedelta(days=d) for d in (1, 0, 2)],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "step"),
    [(kind, 86_400 if kind == "date" else 1) for kind in
     ("int", "float", "ISO", "ISO with a space", "numbers as text", "timestamp", "date")],
)  # fmt: skip
def test_times_of_every_kind_become_seconds(kind, step):
    log = pa.table({"user_id": ["u"] * 3, "item_id": ["b", "a", "c"], "timestamp": moments(kind)})
    found, con = run(log)
    rows = raw(found, con)
    assert [item for _, item, _ in rows] == ["a", "b", "c"]
    np.testing.assert_allclose(np.diff([t for *_, t in rows]), step)
    if kind not in ("int", "float", "numbers as text"):  # those are the clock's own numbers, here in local time
        start = datetime.datetime(2026, 1, 31, 0 if kind == "date" else 12, tzinfo=datetime.UTC)
        assert rows[0][2] == start.timestamp()


def test_fractions_of_a_second_decide_the_order():
    start = datetime.datetime(2026, 1, 31, 12)
    times = [start + datetime.timedelta(microseconds=m) for m in (750_000, 250_000)]
    log = pa.table({"user_id": ["u"] * 2, "item_id": ["b", "a"], "timestamp": times})
    assert [item for _, item, _ in raw(*run(log))] == ["a", "b"]


def test_a_log_can_carry_the_text_itself():
    log = table(
        [("u", "a", 1, "Lamp", "Orrin"), ("v", "a", 2, "Lamp", "Orrin"), ("v", "b", 3, "Rug", None)],
        ("user_id", "item_id", "timestamp", "title", "brand"),
    )
    found, con = run(log, "in the log", text=("title", "brand"))
    assert {r["item_id"]: r["text"] for r in con.to_pyarrow(found.items).to_pylist()} == {
        "a": "Lamp. Orrin",
        "b": "Rug",
    }
    assert raw(found, con) == [("u", "a", 1), ("v", "a", 2), ("v", "b", 3)]


@pytest.mark.parametrize("where", ["items file", "log"])
def test_a_category_is_carried_along_where_it_is_asked_for(where):
    log = [("u", "a", 1, "Lamp", " light "), ("u", "b", 2, "Rug", None), ("v", "c", 3, "Vase", "3")]
    log = table(log, ("user_id", "item_id", "timestamp", "title", "kind"))
    items = "in the log" if where == "log" else log.select(["item_id", "title", "kind"])
    found, con = run(log, items, columns=Columns(category="kind"))
    rows = con.to_pyarrow(found.items).to_pylist()
    assert {row["item_id"]: row["category"] for row in rows} == {"a": "light", "b": "", "c": "3"}
    found, con = run(log, items)
    assert "category" not in found.items.columns


def test_a_log_without_the_category_it_should_carry_is_refused():
    log = table([("u", "a", 1, "Lamp")], ("user_id", "item_id", "timestamp", "title"))
    with pytest.raises(UserError, match="the log has no column 'kind'.*--data.columns.category"):
        run(log, "in the log", columns=Columns(category="kind"))


def test_numbers_in_one_file_and_strings_in_the_other_are_the_same_ids():
    found, con = run([("u", 1, 1), ("u", 2, 2)], [("1", "one"), ("2", "two"), ("x", "never")])
    assert raw(found, con) == [("u", "1", 1), ("u", "2", 2)]


@pytest.mark.parametrize(
    ("items", "words", "interactions", "unused"),
    [
        ([("a", "A")], "1 items are in the log only, .*'b'", 1, 0),
        ([("a", "A"), ("b", "B"), ("b", "C")], "1 items have several rows in the items file .*'b'", 2, 0),
        ([("a", "A"), ("b", "")], "1 items are without text .*'b'", 2, 0),
        ([("a", "A"), ("b", None)], "1 items are without text .*'b'", 2, 0),
    ],
)
def test_files_that_disagree_are_refused_or_counted(items, words, interactions, unused):
    log = [("u", "a", 1), ("u", "b", 2)]
    with pytest.raises(UserError, match=words):
        run(log, items, strict=True)
    found, con = run(log, items)
    assert len(raw(found, con)) == interactions
    assert found.steps[-1]["interactions"] == interactions
    assert found.unused == unused


def test_all_ways_in_which_the_files_disagree_stand_in_one_sentence():
    with pytest.raises(UserError) as caught:
        run(
            [("u", "a", 1), ("u", "x", 2)],
            [("a", "A"), ("b", ""), ("c", "C"), ("c", "D")],
            strict=True,
            catalogue="log",
        )
    for words in ("'x'", "2 items are in the items file only", "1 items have several rows", "1 items are without text"):
        assert words in str(caught.value)


@pytest.mark.parametrize("strict", [True, False])
def test_ids_that_do_not_meet_are_refused_with_both_spellings(strict):
    log = [("u", f"{n}.0", n) for n in range(3)]
    with pytest.raises(UserError, match=r"no item of the log .*the log writes '0.0', the items file '0'"):
        run(log, [(str(n), f"T {n}") for n in range(3)], strict=strict)


def test_the_step_that_removed_nearly_all_is_named_with_its_advice():
    log = [("u", "x1", 1), ("u", "x2", 2), ("u", "a", 3)]
    with pytest.raises(UserError) as caught:
        run(log, [("a", "A"), ("1", "B")], min_user_events=2)
    said = str(caught.value)
    assert "item without a row in the items file (2), 2/1-core (1)" in said
    assert "the log writes 'x1', the items file '1'" in said and "--data.min-user-events" not in said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"where": "n > 9"}, "not n > 9 .4.: check --data.where 'n > 9'"),
        ({"min_rating": 6.0, "columns": Columns(rating="n")}, "rating below 6 .4.: lower --data.min-rating"),
        ({"min_item_events": 3}, "1/3-core .4.: lower --data.min-user-events or --data.min-item-events"),
    ],
)
def test_a_step_that_leaves_nothing_is_named(settings, words):
    with pytest.raises(UserError, match=f"cleaning removed every interaction of 4.*{words}"):
        run(numbered_log([1, 2, 3, 4]), **settings)


SHOP = [(user, item, 10 * user + n) for user in range(3) for n, item in enumerate(("a", "b", "c" if user else "d"))]
SHOP_ITEMS = [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"), ("new", "New"), ("mute", "")]


@pytest.mark.parametrize(("catalogue", "items"), [("all", ["a", "b", "c", "d", "new"]), ("log", ["a", "b"])])
def test_items_never_sold_keep_their_place_by_their_text(catalogue, items):
    found, con = run(SHOP, SHOP_ITEMS, min_item_events=3, catalogue=catalogue)
    table_of_items = con.to_pyarrow(found.items).to_pydict()
    assert sorted(table_of_items["item_id"]) == items
    assert table_of_items["item"] == list(range(len(items)))
    assert [item for _, item, _ in raw(found, con)] == ["a", "b"] * 3  # the core thins the log in either case
    assert found.unused == 2


def test_a_log_that_carries_its_titles_keeps_those_of_rare_items():
    names = ("user_id", "item_id", "timestamp", "title")
    log = table([(*row, row[1].upper()) for row in SHOP], names)
    found, con = run(log, "in the log", min_item_events=3, where="item_id != 'c'")
    assert sorted(con.to_pyarrow(found.items)["item_id"].to_pylist()) == ["a", "b", "d"]


@pytest.mark.parametrize("catalogue", ["all", "log"])
@pytest.mark.parametrize("seed", range(3))
def test_under_global_time_the_core_looks_at_nothing_behind_the_cut(seed, catalogue):
    rng = np.random.default_rng(seed)
    pairs = sorted(
        {(str(u), str(i)) for u, i in zip(rng.integers(30, size=400), rng.integers(25, size=400), strict=True)}
    )
    log = [(u, i, int(t)) for (u, i), t in zip(pairs, rng.permutation(len(pairs)), strict=True)]
    found, con = run(log, split="global_time", min_user_events=4, min_item_events=5, holdout=0.2, catalogue=catalogue)
    cut = found.cuts[0]
    assert cut == pytest.approx(np.quantile(range(len(pairs)), 0.6))
    core = set(k_core([(u, i) for u, i, t in log if t < cut], 4, 5))
    users, items = {u for u, _ in core}, {i for _, i in core}
    kept = {(u, i) for u, i, t in log if (u, i) in core or (t >= cut and u in users)}
    kept = kept if catalogue == "all" else {(u, i) for u, i in kept if i in items}
    assert {(u, i) for u, i, _ in raw(found, con)} == kept
    assert 0 < len(core) < len(kept)
