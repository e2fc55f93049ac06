"""Data sets of TensorFlow Datasets as Parquet parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import tensorflow_datasets as tfds

ROWS_PER_FILE = 200_000


def write(builder: str, data_dir: str, folder: Path) -> None:
    """Writes the first split of ``builder`` into ``folder`` as ``part-00000.parquet``, ….

    Raises:
        UserError: TFDS does not know the builder, or cannot prepare its data.
    """
    try:
        prepared = tfds.builder(builder, data_dir=data_dir or None)
        prepared.download_and_prepare(file_format="array_record")
    except Exception as error:  # unknown name, no network, no disk: TFDS has many
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"TFDS builder {builder!r} cannot be prepared ({reason}): check the name and the network, or take "
            "the same data from a folder with source=Files() and --data.path FOLDER"
        ) from error
    records = prepared.as_data_source(split=next(iter(prepared.info.splits)))
    folder.mkdir(parents=True, exist_ok=True)
    for part, table in enumerate(_tables(records)):
        pq.write_table(table, folder / f"part-{part:05d}.parquet")


def _tables(records: Any) -> Iterator[pa.Table]:
    for start in range(0, len(records), ROWS_PER_FILE):
        rows = records.__getitems__(range(start, min(start + ROWS_PER_FILE, len(records))))
        yield pa.table({name: [_plain(row[name]) for row in rows] for name in rows[0]})


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
