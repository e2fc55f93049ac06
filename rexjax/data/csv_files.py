"""CSV files as tables of text, one dialect for each file. No cell's type is guessed."""

import re
from pathlib import Path
from typing import Any

from rexjax.data import dialects, plain_text
from rexjax.data.dialects import Dialect, Wanted
from rexjax.data.plain_text import PlainText
from rexjax.data.settings import Csv
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    from ibis.expr.types import Column, Table

_DECIMAL = r"^\s*[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?\s*$"


def read(duck: Any, path: Path, csv: Csv, wanted: Wanted, scratch: Path) -> tuple[Table, dict[str, Any]]:
    """A CSV file in DuckDB, and what the data card says of it.

    Args:
        duck: an ibis connection to DuckDB.
        path: the file.
        csv: what is said about how it is written.
        wanted: the columns that are looked for.
        scratch: where a copy goes if the file is packed or not in UTF-8.

    Returns:
        The table, all of whose columns are strings (an empty cell is null), and a dictionary.

    Raises:
        UserError: the file cannot be read to its end; the sentence names file, line and reason.
    """
    text = plain_text.open_plain(path, csv.encoding, wanted.flag, scratch)
    dialect = dialects.find(text, csv, wanted)
    table = _open(duck, text.path, dialect)
    try:
        rows = table.count().execute()
    except Exception as error:  # DuckDB's own kinds
        raise UserError(_reason(text, dialect, wanted, str(error))) from error
    found = {"encoding": text.encoding, "delimiter": dialect.delimiter, "quote": dialect.quote or "none"}
    found |= {"escape": dialect.escape or "none", "decimal": dialect.decimal, "header": dialect.header}
    return _with_names(table, dialect, wanted), {"rows": int(rows)} | found


def _open(duck: Any, path: Path, dialect: Dialect) -> Table:
    """Columns have numbers here: DuckDB's names know no upper and lower case."""
    return duck.read_csv(
        str(path),
        auto_detect=False,
        columns={f"c{number}": "VARCHAR" for number in range(len(dialect.names))},
        delim=dialect.delimiter,
        quote=dialect.quote,
        escape=dialect.escape,
        header=dialect.header,
        skip=dialect.skip,
        nullstr="",
        strict_mode=True,
    )


def _with_names(table: Table, dialect: Dialect, wanted: Wanted) -> Table:
    """Of columns whose names differ in case alone, the first one stays: none of them is wanted."""
    cells: dict[str, Column] = {}
    known: set[str] = set()
    for number, name in enumerate(dialect.names):
        if name.casefold() not in known:
            known.add(name.casefold())
            cell = table[f"c{number}"]
            comma = dialect.decimal == "," and name in wanted.numbers
            cells[name] = cell.re_search(_DECIMAL).ifelse(cell.replace(",", "."), cell) if comma else cell
    return table.select(**cells)


def _reason(text: PlainText, dialect: Dialect, wanted: Wanted, said: str) -> str:
    line = re.search(r"CSV Error on Line: (\d+)", said)
    at = f"{text.source} cannot be read in line {line[1]}" if line else f"{text.source} cannot be read"
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", said)
    if counts:
        more = "too many" if int(counts[2]) > int(counts[1]) else "too few"
        return (
            f"{at}: it has {counts[2]} cells, {more} for the {counts[1]} columns: mend that line (a cell that holds "
            f"{dialect.delimiter!r} must be quoted), or pass {wanted.flag}.delimiter"
        )
    if "unterminated quote" in said:
        return (
            f"{at}: a cell begins with {dialect.quote} and does not end with it: close it, double each {dialect.quote} "
            f"within it, or pass {wanted.flag}.quote none if cells are never quoted"
        )
    if "Maximum line size" in said:
        return f"{at}: it is longer than 2 MB, as where a quote is not closed: mend that line"
    return f"{at} ({' '.join(said.split()[:40])}): mend that line, or pass {wanted.flag}.delimiter and .quote"
