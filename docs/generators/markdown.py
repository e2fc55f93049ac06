"""Tables and figures in Markdown."""

from collections.abc import Sequence
from typing import Any


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; text is left-aligned."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escape(value: Any) -> str:
    """Text of a cell."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def figure(value: Any) -> str:
    """A number with four significant digits, an interval, or text as it is."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        ends = [figure(part) for part in value]
        return " to ".join(ends) if len(ends) == 2 else ", ".join(ends)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def quality(value: Any) -> str:
    """A metric or an interval of one, with four decimals."""
    if isinstance(value, list | tuple):
        return " to ".join(f"{end:.4f}" for end in value)
    return "" if value is None else f"{value:.4f}"


def percent(value: Any) -> str:
    """A share."""
    return "" if value is None else f"{100 * value:.1f} %"
