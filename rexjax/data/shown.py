"""How an event's item was shown: its position in the list, and the propensity with which that position is taken.

Both are optional columns of a log. They stay beside each event, for corrected metrics and segments of the test.
"""

from typing import Any

from rexjax.data.engines import fetch
from rexjax.data.numbers import with_numbers
from rexjax.data.settings import Columns
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    from ibis.expr.types import BooleanColumn, Column, Table

POSITION, PROPENSITY = "shown_at", "propensity"
"""Columns of a log that is cleaned; ``position`` is a row's place in the file there."""


def names_of(columns: Columns) -> dict[str, str]:
    """The log's names of those columns that are there, by the names above.

    >>> names_of(Columns(propensity="p"))
    {'propensity': 'p'}
    """
    named = {POSITION: columns.position, PROPENSITY: columns.propensity}
    return {key: name for key, name in named.items() if name}


def kept(table: Table) -> list[str]:
    """Which of the columns a table has."""
    return [name for name in (POSITION, PROPENSITY) if name in table.columns]


def with_shown(log: Table, columns: Columns) -> Table:
    """``log`` with both columns as float64.

    Raises:
        UserError: a propensity is missing or not in (0, 1], or a position is missing or negative; the row is named.
    """
    for key, name in names_of(columns).items():
        log = with_numbers(log, key, name)
        log = log.mutate(**{key: log[key].cast("float64")})
        _refuse(log, key, name)
    return log


def _refuse(log: Table, key: str, name: str) -> None:
    wrong: Any = log.filter(log[key].isnull() | ~_holds(log[key], key)).select("position", said=log[key])
    rows = fetch(wrong.order_by("position").limit(1)).to_pylist()
    if rows:
        said = "nothing" if rows[0]["said"] is None else f"{rows[0]['said']:g}"
        needed = "a propensity is above 0 and at most 1" if key == PROPENSITY else "a position is 0 or more"
        raise UserError(
            f"column {name!r} of the log holds {said} in row {rows[0]['position'] + 1}, and {needed}: mend it, or "
            "leave such rows out with --data.where"
        )


def _holds(values: Column, key: str) -> BooleanColumn:
    return (values > 0) & (values <= 1) if key == PROPENSITY else values >= 0
