"""How a CSV file is written, found in its first megabyte: delimiter, quote, escape, decimal sign, header.

Nothing is drawn and no cell's type is guessed: of the dialects that parse the sample, the one whose first line names
most of the wanted columns is taken, then the one whose lines have equally many cells.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rexjax.data.plain_text import PlainText
from rexjax.data.settings import Csv
from rexjax.errors import UserError

_DELIMITERS = (",", "\t", ";", "|", "::", "\x01", " ")
_SEPARATOR = "\x1f"  # stands for a delimiter of several signs, since Python's parser takes one sign
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_VALUE = re.compile(r"[+-]?\d+([.,]\d+)?|\d{1,4}([-/.])\d{1,2}\2\d{1,4}([ T].*)?")
_DECLARED = re.compile(r'"?sep=(.|\t)"?$', re.IGNORECASE)  # Excel's own first line


class Wanted(NamedTuple):
    """What the reader looks for in a file."""

    names: tuple[str, ...]
    """Columns that must be there."""
    numbers: tuple[str, ...] = ()
    """Columns that may hold numbers with decimals."""
    flag: str = "--data.csv"
    """What the flags of ``Csv`` begin with, for messages."""


class Dialect(NamedTuple):
    """How a CSV file is written."""

    delimiter: str
    quote: str
    """"": cells are never quoted."""
    escape: str
    """What stands before a quote within a quoted cell: another quote, or a backslash."""
    decimal: str
    header: bool
    names: tuple[str, ...]
    """Its columns, in order."""
    skip: int = 0
    """Lines before the header."""


def find(text: PlainText, csv: Csv, wanted: Wanted) -> Dialect:
    """The dialect of a file.

    Args:
        text: the file.
        csv: what is said about it; what is left open is found.
        wanted: the columns that are looked for.

    Raises:
        UserError: the file is empty, seems to have no header, names a wanted column twice, or has other columns than
            ``csv.names``.
    """
    sample = text.sample
    if not sample.strip():
        raise UserError(f"{text.source} is empty: write a line with the columns' names, and a row per line below")
    blank = re.match(r"(\r?\n)*", sample)[0]
    sample = sample[len(blank) :]
    first = sample.split("\n", 1)[0]
    declared = _DECLARED.fullmatch(first)
    if declared:
        sample = sample[len(first) + 1 :]
    options = (csv.delimiter or (declared and declared[1]),), csv.quote
    delimiter, quote, escape, rows = _parse(sample, *options, wanted.names or csv.names, text.whole)
    header = csv.header if csv.header is not None else not csv.names
    if header and csv.header is None:
        _refuse_data(text, rows, wanted)
    names = _names(text, rows[0], csv, header, wanted)
    decimal = csv.decimal or _decimal(rows[header:], [names.index(name) for name in wanted.numbers if name in names])
    return Dialect(delimiter, quote, escape, decimal, header, names, blank.count("\n") + int(bool(declared)))


def _parse(
    sample: str, delimiters: tuple[str | None, ...], quote: str, wanted: Sequence[str], whole: bool
) -> tuple[str, str, str, list[list[str]]]:
    """Delimiter, quote, escape and rows of the dialect that fits best; the first of those that fit alike."""
    first = sample.split("\n", 1)[0]
    candidates = [
        (delimiter, *quoting)
        for delimiter in (delimiters if delimiters[0] else [one for one in _DELIMITERS if one in first] or [","])
        for quoting in _quotings(quote, sample)
    ]
    best, found = (-1, -1, -1), None
    for candidate in candidates:
        rows = _rows(sample, *candidate, whole)
        fits = _fitness(rows, wanted, candidate[1]) if rows else best
        if fits > best:
            best, found = fits, (*candidate, rows)
    # A sample that no dialect parses has a broken line, which the engine names.
    return found or (*candidates[0], [_split(first, candidates[0][0])])


def _quotings(quote: str, sample: str) -> list[tuple[str, str]]:
    if quote == "none":
        return [("", "")]
    sign = quote or '"'
    escaped = [(sign, "\\")] if f"\\{sign}" in sample else []
    return [(sign, sign), *escaped, *([] if quote or sign not in sample else [("", "")])]


def _fitness(rows: list[list[str]], wanted: Sequence[str], quote: str) -> tuple[int, int, int]:
    """Wanted names in the first row; whether all rows have equally many cells; whether these are more than one."""
    if not quote and any(_is_quoted(cell) for row in rows for cell in row):
        return (-1, -1, -1)  # cells are quoted, and one line is broken
    here = {cell.strip() for cell in rows[0]}
    return sum(name in here for name in wanted), int(len({len(row) for row in rows}) == 1), int(len(rows[0]) > 1)


def _is_quoted(cell: str) -> bool:
    """Whether it begins with a quote that spans all of it, or that is never closed."""
    return cell.startswith('"') and (cell.count('"') % 2 == 1 or (len(cell) > 1 and cell.endswith('"')))


def _rows(sample: str, delimiter: str, quote: str, escape: str, whole: bool) -> list[list[str]]:
    """The sample's rows; none where it breaks the dialect's rules."""
    one = delimiter if len(delimiter) == 1 else _SEPARATOR
    how = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    how |= {"doublequote": escape != "\\", "escapechar": "\\" if escape == "\\" else None}
    lines = io.StringIO(sample.replace(delimiter, one), newline="")
    rows: list[list[str]] = []
    reader = csv.reader(lines, delimiter=one, strict=True, **how)
    try:
        rows.extend(row for row in reader if row)
    except csv.Error as error:
        if whole or "unexpected end of data" not in str(error):  # else a cell goes on behind the sample
            return []
    return [[cell.replace(one, delimiter) for cell in row] for row in rows] if one != delimiter else rows


def _split(line: str, delimiter: str) -> list[str]:
    return [cell.strip('"') for cell in line.split(delimiter)]


def _refuse_data(text: PlainText, rows: list[list[str]], wanted: Wanted) -> None:
    """Refuses a first line that looks like those below it."""
    first, below = rows[0], [row for row in rows[1:101] if len(row) == len(rows[0])]
    named = not set(wanted.names) - {cell.strip() for cell in first}
    if not below or (named and not any(_VALUE.fullmatch(name) for name in wanted.names)):
        return
    columns = zip(first, zip(*below, strict=True), strict=True)
    if any(_VALUE.fullmatch(cell.strip()) and _are_values(under) for cell, under in columns):
        shown = ", ".join(repr(cell) for cell in first[:4]) + (", …" if len(first) > 4 else "")
        names = " ".join(name for name in wanted.names if not _VALUE.fullmatch(name)) or "user_id item_id timestamp"
        raise UserError(
            f"{text.source} seems to have no header, as its first line holds {shown} and looks like those below it: "
            f"name its {len(first)} columns in their order, such as {wanted.flag}.names {names}, or pass "
            f"{wanted.flag}.header True if that line names them"
        )


def _are_values(cells: Sequence[str]) -> bool:
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and all(_VALUE.fullmatch(cell) for cell in filled)


def _names(text: PlainText, first: list[str], csv: Csv, header: bool, wanted: Wanted) -> tuple[str, ...]:
    if csv.names and len(csv.names) != len(first):
        raise UserError(
            f"{text.source} has {len(first)} columns in its first line ({', '.join(map(repr, first[:5]))}), and "
            f"{wanted.flag}.names gives {len(csv.names)}: name each of them, in their order"
        )
    if csv.names:
        return csv.names
    if not header:
        return tuple(str(number + 1) for number in range(len(first)))
    names = [cell.strip() or f"column {number + 1}" for number, cell in enumerate(first)]
    often = Counter(name.casefold() for name in names)
    twice = [name for name in wanted.names if often[name.casefold()] > 1]
    if twice:
        raise UserError(
            f"{text.source} has more than one column {twice[0]!r} in its first line (in either case): rename one, or "
            f"name all of them with {wanted.flag}.header True and {wanted.flag}.names"
        )
    return tuple(names)


def _decimal(rows: list[list[str]], columns: list[int]) -> str:
    """',' where a column of numbers has it and none has '.'. Three digits behind each comma may be thousands: '.'."""
    for column in columns:
        cells = [row[column].strip() for row in rows if len(row) > column and row[column].strip()]
        commas = [cell for cell in cells if "," in cell]
        numbers = all(_NUMBER.fullmatch(cell) and "." not in cell for cell in cells)
        if numbers and any(len(cell.split(",")[1]) != 3 for cell in commas):
            return ","
    return "."
