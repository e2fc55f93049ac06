"""Parquet files as one table: a file, or parts below a folder, Hive partitions included."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    from ibis.expr.types import Table

_DIGITS = 38
"""Of decimals: DuckDB reads longer ones as other numbers, and Spark has none."""


def read(con: Any, paths: Sequence[Path], root: Path | None = None) -> tuple[Table, list[dict[str, Any]]]:
    """Parquet files as a table, and what the data card says of each.

    Args:
        con: an ibis connection.
        paths: the files, in the order of their rows.
        root: the folder below which they lie; a folder ``NAME=VALUE`` below it is a column of strings.

    Raises:
        UserError: a file is not Parquet, or the files differ in their columns or partitions.
    """
    schemas = {path: _schema(path) for path in paths}
    _refuse_differing(schemas, root)
    partitioned = root is not None and bool(_partitions(paths[0], root))
    try:
        table = _open(con, paths, root, partitioned)
    except Exception as error:  # DuckDB, Spark and BigQuery raise their own kinds
        reason = " ".join(str(error).split()[:30])
        raise UserError(f"{root or paths[0]} cannot be read by the engine ({reason}): write it again") from error
    return table, [{"rows": pq.read_metadata(path).num_rows} for path in paths]


def _open(con: Any, paths: Sequence[Path], root: Path | None, partitioned: bool) -> Table:
    """Partitions stay text: the folder user=007 is not the user 7."""
    if con.name == "duckdb":
        return con.read_parquet([str(path) for path in paths], hive_partitioning=partitioned, hive_types_autocast=False)
    if con.name == "pyspark" and root is not None:
        con.raw_sql("SET spark.sql.sources.partitionColumnTypeInference.enabled=false")
        return con.read_parquet(str(root), recursiveFileLookup=not partitioned, pathGlobFilter="*.parquet")
    tables = [con.read_parquet(str(path)) for path in paths]
    return ibis.union(*tables) if len(tables) > 1 else tables[0]


def _schema(path: Path) -> dict[str, pa.DataType]:
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split()[:30])
        raise UserError(f"{path} cannot be read as Parquet ({reason}): write it again") from error
    wide = [field for field in schema if pa.types.is_decimal(field.type) and field.type.precision > _DIGITS]
    if wide:
        shown = " and ".join(f"{field.name!r} ({field.type})" for field in wide)
        raise UserError(f"{path} has decimals of more than {_DIGITS} digits in {shown}, which are misread: write text")
    if lasting := [field for field in schema if pa.types.is_duration(field.type)]:
        shown = " and ".join(f"{field.name!r} ({field.type})" for field in lasting)
        raise UserError(
            f"{path} has durations in {shown}, which are read as numbers without their unit: write moments, numbers of "
            "seconds, or leave these columns out"
        )
    if twice := sorted(name for name, times in Counter(schema.names).items() if times > 1):
        raise UserError(f"{path} has more than one column {', '.join(map(repr, twice))}: keep or rename one of them")
    return {field.name: _plain(field.type) for field in schema}


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type without what engines do not see: a dictionary, and how long its offsets are."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) else kind


def _partitions(path: Path, root: Path) -> tuple[str, ...]:
    """Names of the Hive partitions that the file lies in."""
    return tuple(part.split("=", 1)[0] for part in path.relative_to(root).parts[:-1] if "=" in part)


def _refuse_differing(schemas: dict[Path, dict[str, pa.DataType]], root: Path | None) -> None:
    first, *others = schemas
    if root is not None and (both := set(_partitions(first, root)) & set(schemas[first])):
        raise UserError(
            f"{first} has the columns {', '.join(map(repr, sorted(both)))}, and so have the names of the folders that "
            "it lies in: rename the folders, or leave these columns out of the files"
        )
    for path in others:
        ours, theirs = schemas[first], schemas[path]
        changed = [
            f"{name!r} ({ours.get(name, 'not there')} and {theirs.get(name, 'not there')})"
            for name in dict.fromkeys((*ours, *theirs))
            if ours.get(name) != theirs.get(name)
        ]
        if changed:
            raise UserError(
                f"{first} and {path} differ in the columns {', '.join(changed)}: write all parts with the same columns"
            )
        if root is not None and _partitions(first, root) != _partitions(path, root):
            shown = [str(one.parent.relative_to(root)) if one.parent != root else "no folder" for one in (first, path)]
            raise UserError(
                f"{first} and {path} lie in different partitions of {root} ({shown[0]} and {shown[1]}): keep only "
                "files of the same partitions there, or name one folder with --data.interactions"
            )
