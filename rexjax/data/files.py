"""Tables in files: which files a name stands for, and the reader that opens each kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rexjax.data import csv_files, engines, json_lines, parquet_files
from rexjax.data.dialects import Wanted
from rexjax.data.settings import Csv
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    from ibis.expr.types import Table

_PACKINGS = ("", ".gz", ".zst", ".bz2", ".zip")
_TEXTS = {
    ending + packing: reader
    for packing in _PACKINGS
    for endings, reader in (
        ((".csv", ".tsv", ".txt", ".dat"), csv_files.read),
        ((".jsonl", ".ndjson", ".json"), json_lines.read),
    )
    for ending in endings
}
ENDINGS = (".parquet", *_TEXTS)


def find(folder: Path, name: str, flag: str) -> list[Path]:
    """The files that ``name`` stands for in ``folder``, in the order of their rows.

    Args:
        folder: where they lie.
        name: a file, with or without its ending; several, as ``log-*.csv``; or a folder of parts.
        flag: the flag that gives the name, for messages.

    Raises:
        UserError: the folder or the file is not there, or more than one file may be meant.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {str(folder)!r}: pass --data.path FOLDER with {name}.csv or {name}.parquet in it")
    if (folder / name).is_file():
        return [folder / name]
    if any(sign in name for sign in "*?["):
        return _matching(folder, name, flag)
    endings = ("", *ENDINGS)
    there = [
        path for path in folder.iterdir() if path.name.startswith(name) and path.name[len(name) :].lower() in endings
    ]
    there.sort(key=lambda path: endings.index(path.name[len(name) :].lower()))
    if len(there) > 1:
        raise UserError(
            f"{' and '.join(map(str, there))} may both be meant: pass {flag} {there[0].name} or {there[1].name}, or "
            "remove the other"
        )
    if not there:
        raise UserError(f"no file {name} in {folder}: expected {name}.parquet, {name}.csv or another of {_spelt()}")
    return _parts(there[0]) if there[0].is_dir() else there


def _spelt() -> str:
    return ", ".join(ending for ending in ENDINGS if ending.count(".") == 1) + " (.gz, .zst, .bz2, .zip)"


def _matching(folder: Path, name: str, flag: str) -> list[Path]:
    files = sorted((path for path in folder.glob(name) if path.is_file()), key=str)
    if not files:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:5])
        raise UserError(f"no file {name} in {folder} (there is {there}): mend {flag}")
    return _alike(files, f"files {name} of {folder}")


def _parts(folder: Path) -> list[Path]:
    """All parts below a folder; names that begin with _ or . are not data, as in Spark, nor is a readme."""
    if (folder / "_delta_log").is_dir() or (folder / "metadata").is_dir() and (folder / "data").is_dir():
        raise UserError(
            f"{folder} is a table of Delta Lake or Iceberg, which keeps the files of removed rows: export it as Parquet"
        )
    below = (path for path in folder.rglob("*") if path.is_file() and _ending(path) and path.suffix != ".txt")
    files = [path for path in below if not any(part[0] in "_." for part in path.relative_to(folder).parts)]
    if not files:
        raise UserError(f"the folder {folder} cannot be read as a table: it holds no part that ends in {_spelt()}")
    return _alike(sorted(files, key=str), f"parts of {folder}")


def _alike(files: list[Path], what: str) -> list[Path]:
    kinds = {_ending(path) == ".parquet": path for path in reversed(files)}
    if len(kinds) > 1:
        shown = " and ".join(str(path) for path in sorted(kinds.values()))
        raise UserError(f"the {what} are of more than one kind, such as {shown}: keep one kind")
    return files


def _ending(path: Path) -> str:
    """The longest known ending of the file's name, in lower case; "": there is none."""
    name = path.name.lower()
    return max((ending for ending in ENDINGS if name.endswith(ending)), key=len, default="")


def read(
    con: Any, paths: Sequence[Path], csv: Csv, wanted: Wanted, scratch: Path, root: Path | None = None
) -> tuple[Table, list[dict[str, Any]]]:
    """Files as one table, and what the data card says of each.

    Args:
        con: an ibis connection.
        paths: what ``find`` found.
        csv: what is said about how text files are written.
        wanted: the columns that are looked for.
        scratch: an empty folder, which stays until the table has been read.
        root: the folder below which the files lie; partitions are folders below it.

    Returns:
        The table. Columns of text files are strings; those of Parquet have their own types.

    Raises:
        UserError: a file cannot be read, or has other columns than the first.
    """
    if _ending(paths[0]) != ".parquet":
        table, about = _read_texts(con, paths, csv, wanted, scratch)
    else:
        table, about = parquet_files.read(con, paths, root)
    return table, [
        {"file": _shown(path, root), "bytes": path.stat().st_size, **more}
        for path, more in zip(paths, about, strict=True)
    ]


def _shown(path: Path, root: Path | None) -> str:
    return f"{root.name}/{path.relative_to(root)}" if root else path.name


def _read_texts(
    con: Any, paths: Sequence[Path], csv: Csv, wanted: Wanted, scratch: Path
) -> tuple[Table, list[dict[str, Any]]]:
    """Text is parsed by DuckDB, whatever the engine, so that a cell means the same on each."""
    if con.name == "duckdb":
        return _union(con, paths, csv, wanted, scratch)
    with engines.opened("duckdb", scratch / "engine") as duck:
        table, about = _union(duck, paths, csv, wanted, scratch / "text")
        duck.to_parquet(table, scratch / "part-0.parquet")
    return con.read_parquet(str(scratch / "part-0.parquet")), about


def _union(
    duck: Any, paths: Sequence[Path], csv: Csv, wanted: Wanted, scratch: Path
) -> tuple[Table, list[dict[str, Any]]]:
    filled = [path for path in paths if path.stat().st_size] or paths  # Spark writes parts without a row as no bytes
    read = [_TEXTS.get(_ending(path), csv_files.read)(duck, path, csv, wanted, scratch) for path in filled]
    first = read[0][0]
    for path, (table, _) in zip(filled, read, strict=True):
        if table.schema() != first.schema():
            raise UserError(
                f"{filled[0]} has the columns {', '.join(first.columns)}, and {path} {', '.join(table.columns)}: write "
                "the same ones in the same order"
            )
    about = dict(zip(filled, (more for _, more in read), strict=True))
    tables = [table for table, _ in read]
    return ibis.union(*tables) if len(tables) > 1 else first, [about.get(path, {"rows": 0}) for path in paths]
