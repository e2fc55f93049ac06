"""Engines that clean logs: DuckDB on this machine, Spark on many; the same ibis expressions run on either.

What an expression cannot say stands here: how an engine is opened and closed, in which order its files hold their
rows, and how a result leaves it without standing in the memory of one machine as a whole.
"""

import contextlib
import os
import re
import shutil
import socket
import uuid
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    import ibis.expr.datatypes as dt
    from ibis import _
    from ibis.expr.types import Table

BATCH_ROWS = 1_000_000
_SPARK = re.compile(r"pyspark$|local(\[.*\])?$|yarn$|spark://|k8s://")
_ANSWER_WITHIN = 10.0  # seconds; Spark itself asks a silent master for a minute, and then says little


@contextlib.contextmanager
def opened(engine: str, scratch: Path) -> Iterator[Any]:
    """An ibis connection, closed in the end together with all that it kept.

    Args:
        engine: "duckdb", "pyspark" (Spark as its own configuration has it), a Spark master as Spark writes it
            (``spark://HOST:7077``, ``yarn``, ``k8s://…``, ``local[4]``), or another ibis backend by its name.
        scratch: where the engine may write; Spark's workers must see the same folder.

    Raises:
        UserError: the engine is not installed, or does not answer.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    if engine == "duckdb":
        con = ibis.duckdb.connect(memory_limit="3GB", temp_directory=str(scratch))
        try:
            yield con
        finally:
            con.disconnect()
    elif _SPARK.match(engine):
        with _spark(engine, scratch) as con:
            yield con
    else:
        yield _named_backend(engine)


def _named_backend(engine: str) -> Any:
    try:
        return ibis.connect(f"{engine}://")
    except Exception as error:  # each backend has its own kinds of failure
        raise UserError(
            f"--data.engine {engine} cannot be opened ({error}): is `ibis-framework[{engine}]` there?"
        ) from error


@contextlib.contextmanager
def _spark(engine: str, scratch: Path) -> Iterator[Any]:
    _check_spark(engine)
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    try:
        started = _builder(engine).getOrCreate()
        with warnings.catch_warnings():
            # results leave Spark as Arrow and Parquet, not as pandas
            warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
            con = ibis.pyspark.connect(started.newSession())
        # A database of its own: the cluster may know tables of the same names, and they would be overwritten.
        database = f"rexjax_{uuid.uuid4().hex}"
        con.raw_sql(f"CREATE DATABASE {database} LOCATION '{scratch.resolve().as_uri()}/{database}'")
        con.raw_sql(f"USE {database}")
    except Exception as error:  # Py4J's, PySpark's and the operating system's
        raise UserError(f"--data.engine {engine} cannot be opened: {_first_line(error)}") from error
    try:
        yield con
    finally:
        con.raw_sql(f"DROP DATABASE IF EXISTS {database} CASCADE")
        if running is None:  # executors are not kept for what comes after cleaning
            started.stop()


def _builder(engine: str) -> Any:
    from pyspark.sql import SparkSession

    quiet = {"spark.log.level": "ERROR", "spark.ui.showConsoleProgress": "false"}
    here = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    settings = quiet | (here if engine.startswith("local") else {})
    builder = SparkSession.builder.appName("rexjax prepare").config(map=settings)
    return builder if engine == "pyspark" else builder.master(engine)


def _check_spark(engine: str) -> None:
    if find_spec("pyspark") is None:
        raise UserError(f"--data.engine {engine} needs PySpark, which is not installed: pip install 'rexjax[spark]'")
    home = os.environ.get("JAVA_HOME")
    if not (Path(home, "bin", "java").exists() if home else shutil.which("java")):
        where = f"JAVA_HOME={home} has none" if home else "there is none on PATH"
        raise UserError(f"--data.engine {engine} needs Java 17 or later, and {where}: install it or set JAVA_HOME")
    if engine.startswith("spark://"):
        host, _colon, port = engine.removeprefix("spark://").split(",")[0].rpartition(":")
        if not host or not port.isdecimal():
            raise UserError(f"--data.engine {engine} names no port: write it as spark://HOST:7077")
        try:
            socket.create_connection((host, int(port)), timeout=_ANSWER_WITHIN).close()
        except OSError as error:
            raise UserError(
                f"--data.engine {engine}: no Spark master answers at {host}:{port} ({error}): start it or mend the URL"
            ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


# --- the order of rows, and the way out -----------------------------------------------------------------------------


@ibis.udf.scalar.builtin
def input_file_name() -> dt.string:
    """Spark's: the file that the row is from."""


@ibis.udf.scalar.builtin
def input_file_block_start() -> dt.int64:
    """Spark's: where in that file the piece begins that one task reads."""


@ibis.udf.scalar.builtin
def monotonically_increasing_id() -> dt.int64:
    """Spark's: a number that rises along the rows of a task."""


def numbered(table: Table, name: str) -> Table:
    """``table``, whose rows come right from files or from the engine's own store, with their numbers from 0.

    The column ``name`` (int64) counts in the order of file names and of rows within a file. Spark knows no such order:
    its tasks read pieces of files, and a row's number is its place in the piece plus the rows of all pieces before it.
    """
    con = table.get_backend()
    if con.name != "pyspark":
        return table.mutate(**{name: ibis.row_number()})
    piece = {"_file": input_file_name(), "_block": input_file_block_start()}
    # Stored, since places within a piece are only good for the one pass over the files that gave them; under a name by
    # which cleaning drops what it has copied.
    rows = con.create_table(
        f"clean_rows_{uuid.uuid4().hex}", table.mutate(**piece, _place=monotonically_increasing_id())
    )
    pieces = rows.group_by(*piece).agg(_first=_._place.min(), _rows=_.count())
    before = _._rows.cumsum(order_by=["_file", "_block"]) - _._rows
    pieces = pieces.mutate(_shift=before - _._first).select(*piece, "_shift")
    joined = rows.join(pieces, list(piece))
    return joined.select(**{name: _._place + _._shift}, **{column: joined[column] for column in table.columns})


def count(table: Table) -> int:
    """How many rows it has."""
    return fetch(table.agg(rows=_.count()))["rows"][0].as_py()


def fetch(table: Table) -> pa.Table:
    """All of ``table``, in memory."""
    con = table.get_backend()
    if con.name != "pyspark":
        return con.to_pyarrow(table)
    # not con.to_pyarrow, which goes through pandas: integers beside NULL would come back as floats
    return con.raw_sql(con.compile(table)).toArrow().cast(table.schema().to_pyarrow())


def store(table: Table, folder: Path) -> list[Path]:
    """Writes ``table`` into ``folder`` as Parquet parts, in its order; Spark's workers write one each."""
    con = table.get_backend()
    if con.name == "pyspark":
        con.to_parquet_dir(table, folder)
    else:
        folder.mkdir(parents=True)
        con.to_parquet(table, folder / "part-0.parquet")
    return parts(folder)


def parts(folder: Path) -> list[Path]:
    """The parts that ``store`` left, in order."""
    return sorted(folder.glob("part-*.parquet"), key=lambda path: (len(path.name), path.name))


def stream(table: Table, folder: Path) -> Iterator[pa.RecordBatch]:
    """``table`` in its order, a million rows at a time; Spark stores it in ``folder`` on the way."""
    con = table.get_backend()
    if con.name != "pyspark":
        yield from con.to_pyarrow_batches(table, chunk_size=BATCH_ROWS)
        return
    # con.to_pyarrow_batches would first collect everything on the driver (ibis 12)
    for part in store(table, folder):
        yield from pq.ParquetFile(part).iter_batches(BATCH_ROWS)
        part.unlink()
