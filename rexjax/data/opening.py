"""The log and the items of ``Files``: which files they are, which columns they need, and how they are opened."""

from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts.paths import local_path
from rexjax.data import files
from rexjax.data.dialects import Wanted
from rexjax.data.settings import Csv, Data
from rexjax.data.sources import Opened


class Located(NamedTuple):
    """One of the two tables, in files."""

    paths: list[Path]
    root: Path | None
    """The folder whose parts they are; None: they were named."""
    csv: Csv
    wanted: Wanted


def tables_of(data: Data) -> list[Located]:
    """The log and, unless ``data.items`` is empty, the items.

    Raises:
        UserError: a file is not there, or two may be meant.
    """
    columns, folder = data.columns, local_path(data.path, "--data.path")
    about = tuple(filter(None, (*data.text, columns.category)))
    events = tuple(filter(None, (columns.user, columns.item, columns.time)))
    log = (*events, *(() if data.items else about))
    numbers = tuple(filter(None, (columns.time, columns.rating)))
    tables = [_locate(folder, data.interactions, "--data.interactions", data.csv, Wanted(log, numbers))]
    if data.items:
        wanted = Wanted((columns.item, *about), flag="--data.items-csv")
        tables.append(_locate(folder, data.items, "--data.items", data.csv.of_items(data.items_csv), wanted))
    return tables


def _locate(folder: Path, name: str, flag: str, csv: Csv, wanted: Wanted) -> Located:
    root = folder / name if name and (folder / name).is_dir() else None
    return Located(files.find(folder, name, flag), root, csv, wanted)


def open_files(data: Data, con: Any, scratch: Path) -> Opened:
    """Both tables, and what the data card says of each file; arguments as those of ``Source.read``."""
    read = [
        files.read(con, table.paths, table.csv, table.wanted, scratch / str(number), table.root)
        for number, table in enumerate(tables_of(data))
    ]
    about = tuple(more for _, found in read for more in found)
    return Opened(read[0][0], read[1][0] if data.items else None, about)
