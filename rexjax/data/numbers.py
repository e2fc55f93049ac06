"""Columns of a log that must hold numbers: ratings, and what ``--data.where`` compares with a number."""

from rexjax.data.engines import fetch
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    from ibis import _
    from ibis.expr.types import BooleanColumn, Column, Table

_NUMBER = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"  # engines differ in what else they cast, such as 1d
_GAP = "[ \t\r\n\x0b\x0c]*"
_BLANK_OR_NAN = f"^{_GAP}([+-]?[nN][aA][nN])?{_GAP}$"  # one search: TRIM and LOWER are ten times as slow


def missing(column: Column) -> BooleanColumn:
    """Whether the value is null, blank text or NaN, in text too: the same on every engine."""
    absent = column.isnull()
    if column.type().is_floating():
        return absent | column.isnan()
    return absent | column.re_search(_BLANK_OR_NAN).fill_null(False) if column.type().is_string() else absent


def with_numbers(log: Table, column: str, name: str) -> Table:
    """``log`` with ``column`` as finite numbers, integers as they are and all else float64, null where it is missing.

    Args:
        log: has the columns ``position`` and ``column``.
        column: numbers, or text that holds numbers.
        name: what the log's file calls it.

    Raises:
        UserError: a value is text of another form, or infinite; the first row is named.
    """
    values = log[column]
    kind = values.type()
    if kind.is_integer():
        return log
    if not (kind.is_numeric() or kind.is_string() or kind.is_null()):
        raise UserError(
            f"column {name!r} of the log holds values of the type {kind}, which are no numbers: write numbers"
        )
    if values.type().is_string():
        text = values.strip()
        number = ibis.ifelse(text.re_search(_NUMBER), text, ibis.null("string")).try_cast("float64")
    else:
        number = values.cast("float64")
    absent = missing(values)
    wrong = ~absent & (number.isnull() | number.isinf())
    _refuse_first(log.select("position", said=values.cast("string"), wrong=wrong), name)
    return log.mutate(**{column: ibis.ifelse(absent, ibis.null("float64"), number)})


def _refuse_first(log: Table, name: str) -> None:
    wrong = log.filter(_.wrong.fill_null(False)).select("position", "said")
    rows = fetch(wrong.order_by("position").limit(1)).to_pylist()
    if rows:
        raise UserError(
            f"column {name!r} of the log holds {rows[0]['said']!r} in row {rows[0]['position'] + 1}, which is no "
            "number: write digits with a decimal point, such as 4.5, or leave it empty"
        )
