import datetime

import ibis
import pyarrow as pa
import pytest

from rexjax.config import Data
from rexjax.data import where
from rexjax.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", []),
        ("quantity > 0", [("quantity", ">", 0)]),
        ("quantity>=-1.5e2 AND kind!='it''s'", [("quantity", ">=", -150.0), ("kind", "!=", "it's")]),
        ('"unit price" < .5 and "say ""hi""" = \'and\'', [("unit price", "<", 0.5), ('say "hi"', "=", "and")]),
        ("größe <= +3", [("größe", "<=", 3)]),
        ("a = '' and b = 1 and c = 2", [("a", "=", ""), ("b", "=", 1), ("c", "=", 2)]),
    ],
)
def test_conditions_are_comparisons_joined_by_and(text, expected):
    assert [(c.column, c.operator, c.value) for c in where.parse(text)] == expected
    assert all(text[c.position - 1] in (c.column[0], '"') for c in where.parse(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quantity", "it ends at position 9: write an operator"),
        ("quantity >", "it ends at position 11: write a number"),
        ("quantity > 0 and", "it ends at position 17: write a column"),
        ("quantity == 0", "it has '==' at position 10: write an operator"),
        ("quantity > zero", "it has 'zero' at position 12: write a number"),
        ("quantity > 0 or price > 1", "it has 'or' at position 14: write 'and' or the end"),
        ("unit price > 0", "it has 'price' at position 6: write an operator"),
        ("0 < quantity", "it has '0' at position 1: write a column"),
        ("kind = 'open", 'it has "\'" at position 8'),
        ("quantity > 12x", "it has '1' at position 12|it has '12"),
        ("__import__('os')", "it has '\\(' at position 11"),
        ("quantity > 0; drop table log", "it has ';' at position 13"),
    ],
)
def test_a_mistake_is_named_with_its_position_when_the_config_is_made(text, words):
    with pytest.raises(UserError, match=words):
        Data(where=text)


LOG = pa.table(
    {
        "n": [1, 0, None, -3],
        "x": [0.5, float("nan"), None, 2.0],
        "kind": ["a", "b", None, "A"],
        "gone": [True, False, None, False],
        "day": [datetime.date(2026, 1, 1)] * 4,
    }
)


def kept(text):
    log = ibis.duckdb.connect().create_table("log", LOG)
    log = log.select(**where.columns_of(log, text))
    return log.mutate(kept=where.holds(log, where.parse(text))).to_pyarrow()["kept"].to_pylist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n > 0", [True, False, False, False]),
        ("n != 0", [True, False, True, True]),
        ("n >= -3 and kind = 'a'", [True, False, False, False]),
        ("kind != 'a'", [False, True, True, True]),
        ("kind > 'A'", [True, True, False, False]),
        ("gone = 'false'", [False, True, False, True]),
        ("gone != 'true'", [False, True, True, True]),
        ("kind = ''", [False, False, True, False]),
    ],
)
def test_a_missing_number_differs_from_all_and_missing_text_is_empty(text, expected):
    assert kept(text) == expected


def test_columns_that_cannot_be_compared_are_all_named():
    text = "n = '1' and price > 0 and kind > 'a' and gone = 1 and day > '2026'"
    with pytest.raises(UserError) as caught:
        kept(text)
    for words in (
        "column 'n' at position 1 holds numbers (int64): write the number without quotes",
        "no column 'price' at position 13 (it has n, x, kind, gone, day)",
        "column 'gone' at position 42 holds no numbers (boolean)",
        "column 'day' at position 55 holds neither numbers nor text (date)",
    ):
        assert words in str(caught.value)
    assert "'kind'" not in str(caught.value).split(": ", 1)[1].replace(text, "")
