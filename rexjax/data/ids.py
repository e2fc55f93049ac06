"""Ids are text, as a person would write them, from whatever type a log has; what cannot be one is refused."""

import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rexjax.data.engines import count, fetch, numbered
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    import ibis.expr.datatypes as dt
    from ibis import _
    from ibis.expr.types import Column, Table

# the first whole number that a type cannot tell from its neighbour
_EXACT = {dt.Float16: 2**11, dt.Float32: 2**24, dt.Float64: 2**53}
_BLANK = "[\x01-\x20\x7f-\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]"
"""White space, control characters, and characters without width."""
_COMPOSED = (
    "[\u0300-\u036f\u0374\u037e\u0387\u0590-\u1fff\u20d0-\u20ff\u2126\u212a\u212b\u2329\u232a"
    "\u302a-\u302f\u3099\u309a\uf900-\ufb4f]"
)
"""Characters that have another spelling in Unicode, or are a part of one, and some more."""


def to_text(table: Table, name: str, where: str) -> Column:
    """The ids of a column as strings; an empty one, and NaN, is null.

    Whole numbers of any type have neither point nor exponent, bytes are read as UTF-8, dates and times are in ISO 8601.

    Args:
        table: a table with the column.
        name: the column: strings, integers, decimals or floats that are whole numbers, bytes, booleans, dates, UUIDs.
        where: what the table is, for messages.

    Returns:
        The column as an expression.

    Raises:
        UserError: the column is of another type, or an id cannot be told from others; the first one is named.
    """
    column = table[name]
    spelling = next((one for one in _SPELLINGS if isinstance(column.type(), one.kinds)), None)
    if spelling is None:
        advice = " (see --data.columns.explode)" if column.type().is_array() else ""
        raise UserError(
            f"column {name!r} of the {where} holds values of the type {column.type()}, which are no ids: write each id "
            f"as text or as a whole number{advice}"
        )
    if spelling.fails:
        _refuse_first(table.select(value=column), spelling.fails, f"column {name!r} of the {where}")
    return spelling.spell(column).nullif("")


def distinct(ids: Table) -> Table:
    """Each id of the column ``id`` once."""
    return ids.filter(_.id.notnull()).distinct()


def refuse_look_alikes(ids: Table, what: str) -> None:
    """Refuses ids that look the same: but for blanks around them, or for how Unicode composes their letters.

    Args:
        ids: what ``distinct`` made of those of the log and of the items file together, stored in the engine.
        what: the column's name, for messages.

    Raises:
        UserError: there are such ids; two of them are named.
    """
    _refuse_blanks(ids, what)
    _refuse_compositions(ids, what)


def _refuse_blanks(known: Table, what: str) -> None:
    around = f"^{_BLANK}+|{_BLANK}+$"
    if count(known.filter(_.id.re_search(around))) == 0:
        return
    bare = known.mutate(bare=_.id.re_replace(around, "")).group_by("bare")
    alike = bare.agg(ids=_.count(), first=_.id.min(), last=_.id.max()).filter(_.ids > 1)
    pair = fetch(alike.order_by("bare").limit(1)).to_pylist()
    if pair:
        raise UserError(
            f"column {what!r} holds {pair[0]['first']!r} and {pair[0]['last']!r}, which differ in blanks alone: strip "
            "the ids in the log and in the items file, or give one another id"
        )


def _refuse_compositions(known: Table, what: str) -> None:
    """Python composes the few ids that may have another spelling."""
    marked = fetch(known.filter(_.id.re_search(_COMPOSED)).order_by("id"))["id"].to_pylist()
    composed = {text: unicodedata.normalize("NFC", text) for text in marked}
    other = pa.table({"one": list(composed), "id": pa.array(composed.values(), pa.string())})
    other = other.filter(pc.not_equal(other["one"], other["id"]))
    if not len(other):
        return
    spelt = known.get_backend().create_table("composed_ids", other, overwrite=True)
    pairs = fetch(spelt.join(known, "id").order_by("one").limit(1)).to_pylist()
    first: dict[str, str] = {}
    pairs += [{"one": one, "id": first[id]} for one, id in composed.items() if first.setdefault(id, one) != one]
    if pairs:
        raise UserError(
            f"column {what!r} holds {pairs[0]['one']!a} and {pairs[0]['id']!a}, which are one text in two spellings of "
            "Unicode: write ids in one of them, such as NFC, in the log and in the items file"
        )


class _Spelling(NamedTuple):
    """How ids of some types become strings."""

    kinds: Any
    """A data type of ibis, or several."""
    spell: Callable[[Column], Column]
    fails: Callable[[Column], Column] | None = None
    """Where a value is no id; None: nowhere."""


@ibis.udf.scalar.builtin
def decode(value: dt.binary) -> dt.string:
    """DuckDB's: bytes as UTF-8."""


@ibis.udf.scalar.builtin(name="try")
def attempt(value: dt.string) -> dt.string:
    """DuckDB's: null where the expression fails."""


@ibis.udf.scalar.builtin
def try_validate_utf8(value: dt.string) -> dt.string:
    """Spark's: null where the string is not UTF-8."""


def _as_written(column: Column) -> Column:
    return column.cast("string")


def _without_zone(column: Column) -> Column:
    return column.cast("timestamp").cast("string")


def _is_finer(column: Column) -> Column:
    """Whether it has parts of a microsecond, which its text would lack."""
    return (column.cast("timestamp") != column).fill_null(False)


def _decoded(column: Column) -> Column:
    if column.get_backend().name == "pyspark":
        return try_validate_utf8(column.cast("string"))
    return attempt(decode(column))


def _is_undecodable(column: Column) -> Column:
    return column.notnull() & _decoded(column).isnull()


def _whole_decimal(column: Column) -> Column:
    return column.cast(dt.Decimal(38, 0)).cast("string")


def _has_decimals(column: Column) -> Column:
    return column != column.cast(dt.Decimal(38, 0)).cast(column.type())


def _whole_float(column: Column) -> Column:
    return column.isnan().ifelse(ibis.null("float64"), column).cast("int64").cast("string")


def _is_inexact(column: Column) -> Column:
    return ~column.isnan() & ((column % 1 != 0) | (column.abs() >= _EXACT[type(column.type())]))


_SPELLINGS = (
    _Spelling((dt.String, dt.Integer, dt.Boolean, dt.Date, dt.Time, dt.UUID, dt.Null), _as_written),
    _Spelling(dt.Timestamp, _without_zone, _is_finer),
    _Spelling(dt.Binary, _decoded, _is_undecodable),
    _Spelling(dt.Decimal, _whole_decimal, _has_decimals),
    _Spelling(dt.Floating, _whole_float, _is_inexact),
)


def _refuse_first(table: Table, fails: Callable[[Column], Column], what: str) -> None:
    rows = numbered(table, "row_of_id").filter(lambda rows: fails(rows.value))
    found = fetch(rows.order_by("row_of_id").limit(1)).to_pylist()
    if found:
        raise UserError(
            f"{what} holds {found[0]['value']!r} in row {found[0]['row_of_id'] + 1}, which is no id (bytes must be "
            "UTF-8, numbers whole, floats below 2^53, or 2^24 where they are of 32 bits, and times without "
            "nanoseconds): write all ids as text"
        )
