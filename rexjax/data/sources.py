"""Where logs come from: CSV and Parquet files, TFDS builders, the simulated shop; all become tables of one engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.config.schema import Data
from rexjax.data import engines, shop
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    from ibis.expr.types import Table

_ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv")
_ROWS_PER_FILE = 200_000


def read(data: Data, seed: int, con: Any, scratch: Path) -> tuple[Table, Table | None]:
    """The raw log and the items' table (None where the log carries the text) of the source that ``data`` names."""
    if data.source == "shop":
        shop.write(data.shop, seed, scratch / "shop")
        folder = scratch / "shop"
    elif data.source == "tfds":
        folder = _export_tfds(data, scratch / "tfds")
    else:
        folder = Path(data.path)
    log = read_file(con, find(folder, data.interactions))
    items = read_file(con, find(folder, data.items)) if data.items and data.source != "tfds" else None
    return log, items


def external_files(data: Data) -> list[Path]:
    """The files outside the workdir that ``read`` will open: they are part of the stage's identity."""
    if data.source != "files":
        return []
    return [find(Path(data.path), name) for name in (data.interactions, data.items) if name]


def find(folder: Path, name: str) -> Path:
    """The file or folder of Parquet parts ``name`` in ``folder``, with or without its ending."""
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


def _export_tfds(data: Data, folder: Path) -> Path:
    with needs_extra("data"):
        import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(data.builder, data_dir=data.path or None)
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # unknown name, no network, no disk: TFDS has many
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"TFDS builder {data.builder!r} cannot be prepared ({reason}): check the name and the network, or take "
            "the same data from a folder with --data.source files --data.path FOLDER"
        ) from error
    source = builder.as_data_source(split=next(iter(builder.info.splits)))
    (folder / data.interactions).mkdir(parents=True, exist_ok=True)
    for part, table in enumerate(_tables(source)):
        pq.write_table(table, folder / data.interactions / f"part-{part:05d}.parquet")
    return folder


def _tables(source: Any) -> Iterator[pa.Table]:
    for start in range(0, len(source), _ROWS_PER_FILE):
        rows = source.__getitems__(range(start, min(start + _ROWS_PER_FILE, len(source))))
        yield pa.table({name: [_plain(row[name]) for row in rows] for name in rows[0]})


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
