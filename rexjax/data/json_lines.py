"""JSON lines as tables of text: numbers keep the digits in which they are written."""

import json
from pathlib import Path
from typing import Any

from rexjax.data import plain_text
from rexjax.data.dialects import Wanted
from rexjax.data.plain_text import PlainText
from rexjax.data.settings import Csv
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    from ibis.expr.types import Table


def read(duck: Any, path: Path, csv: Csv, wanted: Wanted, scratch: Path) -> tuple[Table, dict[str, Any]]:
    """A file of JSON objects, one a line, in DuckDB; arguments and result as those of ``csv_files.read``.

    The columns are the keys of the first megabyte's objects; one that is a list there is a list of strings.
    """
    text = plain_text.open_plain(path, csv.encoding, wanted.flag, scratch)
    kinds = _columns(text, wanted)
    try:
        table = duck.read_json(str(text.path), columns=kinds, format="newline_delimited", records="true")
        counts = {f"c{number}": table[name].count() for number, name in enumerate(kinds)}  # so that each is parsed
        rows = table.agg(rows=table.count(), **counts).to_pyarrow()["rows"][0].as_py()
    except Exception as error:  # DuckDB's own kinds
        raise UserError(_reason(text, str(error))) from error
    return table, {"rows": rows, "encoding": text.encoding}


def _columns(text: PlainText, wanted: Wanted) -> dict[str, str]:
    """Of keys that differ in case alone, a wanted one stays, else the first."""
    kinds: dict[str, str] = {}
    for number, line in enumerate(text.sample.split("\n"), 1):
        if line.strip():
            for key, value in _object(text, number, line).items():
                kinds[key] = "VARCHAR[]" if isinstance(value, list) else kinds.get(key, "VARCHAR")
    if not kinds:
        raise UserError(f"{text.source} is empty: write one JSON object a line")
    spelt = {name.casefold(): name for name in (*reversed(kinds), *wanted.names) if name in kinds}
    return {name: kind for name, kind in kinds.items() if spelt[name.casefold()] == name}


def _object(text: PlainText, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_int=str)
    except ValueError as error:
        raise UserError(f"{text.source} cannot be read in line {number}: it is no JSON ({error}): mend it") from error
    if not isinstance(found, dict):
        raise UserError(
            f"{text.source} cannot be read in line {number}: it holds {line.strip()[:40]!r}, and must hold a JSON "
            'object, such as {"user_id": 1}: write one object a line'
        )
    return found


def _reason(text: PlainText, said: str) -> str:
    """What Python says of the first line that is no object, else what DuckDB said."""
    with text.path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    _object(text, number, line)
                except UserError as error:
                    return str(error)
    return f"{text.source} cannot be read ({' '.join(said.split()[:40])}): mend that line"
