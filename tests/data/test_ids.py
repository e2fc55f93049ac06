import datetime
import decimal

import ibis
import pyarrow as pa
import pytest

from rexjax.data import ids
from rexjax.errors import UserError


def texts(values):
    con = ibis.duckdb.connect()
    table = con.create_table("log", pa.table({"who": values}))
    found = con.to_pyarrow(table.select(who=ids.to_text(table, "who", "log")))["who"].to_pylist()
    con.disconnect()
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, -2], ["1", None, "-2"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([decimal.Decimal("98765432109876543210")], pa.decimal128(38, 0)), ["98765432109876543210"]),
        (pa.array([decimal.Decimal("12.00")], pa.decimal128(9, 2)), ["12"]),
        ([3.0, float("nan"), None, 2.0**53 - 1], ["3", None, None, "9007199254740991"]),
        (["007", "", None, " x "], ["007", None, None, " x "]),
        (["é".encode(), b"x"], ["é", "x"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        ([True, False], ["true", "false"]),
        ([datetime.date(2024, 1, 15)], ["2024-01-15"]),
        ([datetime.time(3, 16)], ["03:16:00"]),
        (pa.array([1_700_000_000_000_001_000, None], pa.timestamp("ns")), ["2023-11-14 22:13:20.000001", None]),
    ],
)
def test_ids_of_every_type_are_the_text_that_a_person_would_write(values, expected):
    assert texts(values) == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, 2.5], "column 'who' of the log holds 2.5 in row 2"),
        ([2.0**53], "holds 9007199254740992.0 in row 1"),
        (pa.array([2.0**24], pa.float32()), "holds 16777216.0 in row 1"),
        ([1.0, float("inf")], "holds inf in row 2"),
        (pa.array([decimal.Decimal("12.50")]), "holds Decimal.'12.50'. in row 1"),
        ([b"ok", b"\xff"], "in row 2, which is no id"),
        (pa.array([1_000, 1_001], pa.timestamp("ns")), "000001001'. in row 2, which is no id .*without nanoseconds"),
        ([[1]], "of the type array<int64>, .*--data.columns.explode"),
        ([{"a": 1}], "of the type struct<a: int64>, which are no ids"),
    ],
)
def test_what_is_no_id_is_named_with_its_row(values, words):
    with pytest.raises(UserError, match=words):
        texts(values)


@pytest.mark.parametrize(
    ("known", "pair"),
    [
        (["a", " a", "b"], "' a' and 'a'"),
        (["a\u00a0", "a\t"], "'a.t' and 'a.xa0'"),
        (["a\u202f", "a"], "'a' and 'a.u202f'"),
        (["a", "\u200fa"], "'a' and '.u200fa'"),
        (["a\x1f", "a"], "'a' and 'a.x1f'"),
    ],
)
def test_ids_that_differ_in_blanks_alone_are_refused(known, pair):
    with pytest.raises(UserError, match=f"column 'who' holds {pair}, which differ in blanks alone"):
        ids.refuse_look_alikes(ibis.memtable({"id": known}), "who")


@pytest.mark.parametrize(
    ("known", "pair"),
    [
        (["caf\u00e9", "cafe\u0301", "b"], r"'cafe.u0301' and 'caf.xe9'"),
        (["a\u0323\u0307", "a\u0307\u0323"], r"'a.u0323.u0307' and 'a.u0307.u0323'"),
        (["\u212b", "\u00c5"], r"'.u212b' and '.xc5'"),
        (["\ud55c", "\u1112\u1161\u11ab"], r"'.u1112.u1161.u11ab' and '.ud55c'"),
    ],
)
def test_ids_that_unicode_spells_in_two_ways_are_refused(known, pair):
    with pytest.raises(UserError, match=f"column 'who' holds {pair}, which are one text in two spellings of Unicode"):
        ids.refuse_look_alikes(ibis.memtable({"id": known}), "who")


@pytest.mark.parametrize("known", [["cafe\u0301", "cafe"], ["\u0939\u093f", "\u0939", None], ["\u0e17\u0e35\u0e48"]])
def test_ids_of_one_spelling_are_kept(known):
    ids.refuse_look_alikes(ibis.memtable({"id": known}), "who")


def test_blanks_around_ids_that_nothing_else_resembles_are_kept():
    ids.refuse_look_alikes(ibis.memtable({"id": [" a", "b", None]}), "who")
