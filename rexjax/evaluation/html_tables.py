"""Tables of the report as HTML."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class Markup(str):
    """A cell that is HTML already."""


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], caption: str, marked: str = "") -> str:
    """A table in a box of its own, which scrolls where the page is too narrow.

    Args:
        header: names of the columns.
        rows: cells; what is no ``Markup`` is escaped.
        caption: above the table.
        marked: the first cell of rows that are highlighted.
    """
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    body = "\n".join(_row(row, bool(marked) and row[0] == marked) for row in rows)
    return (
        f'<div class="wide"><table><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(cells: Sequence[Any], marked: bool) -> str:
    inside = "".join(f"<td>{x if isinstance(x, Markup) else html.escape(cell(x))}</td>" for x in cells)
    return f'<tr class="served">{inside}</tr>' if marked else f"<tr>{inside}</tr>"


def cell(value: Any) -> str:
    """Integers with thousands apart, floats with four digits, a dash for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def flat(facts: Mapping[str, Any], above: str = "") -> list[list[Any]]:
    """Nested facts as rows of dotted name and value."""
    rows: list[list[Any]] = []
    for key, value in facts.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            rows += flat(value, f"{name}.")
        else:
            rows.append([name, ", ".join(map(_item, value)) if isinstance(value, (list, tuple)) else value])
    return rows


def _item(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_item(part)}" for key, part in value.items()) + ")"
    return cell(value)
