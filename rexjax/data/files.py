"""Tables in files: CSV, Parquet and folders of Parquet parts, opened in an engine."""

from pathlib import Path
from typing import Any

from rexjax.data import engines
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    from ibis.expr.types import Table

_ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv")


def find(folder: Path, name: str) -> Path:
    """The file or folder of Parquet parts ``name`` in ``folder``, with or without its ending.

    Raises:
        UserError: the folder or the file is not there.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {str(folder)!r}: pass --data.path FOLDER with {name}.csv or {name}.parquet in it")
    for path in [folder / name, *(folder / (name + ending) for ending in _ENDINGS)]:
        if path.exists():
            return path
    raise UserError(f"no file {name} in {folder}: expected one of {', '.join(name + ending for ending in _ENDINGS)}")


def read_file(con: Any, path: Path, **csv: Any) -> Table:
    """A CSV or Parquet file, or a folder of Parquet parts, as a table; ``csv`` is said to the reader of CSV files.

    Raises:
        UserError: it is none of these.
    """
    try:
        if path.is_dir():
            return con.read_parquet(str(path / "*.parquet"))
        return con.read_parquet(str(path)) if path.suffix == ".parquet" else engines.read_csv(con, path, **csv)
    except Exception as error:  # DuckDB, Spark and BigQuery raise their own kinds
        raise UserError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
