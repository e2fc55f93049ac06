"""The log, the items and the users of ``Files``: their files, the columns that they need, and how they are opened."""

from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts.paths import local_path
from rexjax.data import files
from rexjax.data.dialects import Wanted
from rexjax.data.features.tables import columns_read
from rexjax.data.settings import Csv, Data
from rexjax.data.sources import Opened


class Located(NamedTuple):
    """One of the tables, in files."""

    paths: list[Path]
    root: Path | None
    """The folder whose parts they are; None: they were named."""
    csv: Csv
    wanted: Wanted


def tables_of(data: Data) -> list[Located]:
    """The log, the items unless ``data.items`` is empty, and the users unless ``data.users`` is.

    Raises:
        UserError: a file is not there, or two may be meant.
    """
    columns, folder = data.columns, local_path(data.path, "--data.path")
    about = tuple(filter(None, (*data.text, columns.category)))
    events = tuple(filter(None, (columns.user, columns.item, columns.time)))
    read = columns_read(columns, items=bool(data.items), users=bool(data.users))
    log = (*events, *(() if data.items else about), *read.log)
    numbers = tuple(filter(None, (columns.time, columns.rating, *read.numbers)))
    tables = [_locate(folder, data.interactions, "--data.interactions", data.csv, Wanted(log, numbers))]
    if data.items:
        wanted = Wanted((columns.item, *about, *read.items), read.numbers, flag="--data.items-csv")
        tables.append(_locate(folder, data.items, "--data.items", data.csv.of_items(data.items_csv), wanted))
    if data.users:
        wanted = Wanted((columns.user, *read.users), (*read.numbers, *filter(None, [columns.user_time])))
        tables.append(_locate(folder, data.users, "--data.users", data.csv.of_items(Csv()), wanted))
    return tables


def _locate(folder: Path, name: str, flag: str, csv: Csv, wanted: Wanted) -> Located:
    root = folder / name if name and (folder / name).is_dir() else None
    return Located(files.find(folder, name, flag), root, csv, wanted)


def open_files(data: Data, con: Any, scratch: Path) -> Opened:
    """The tables, and what the data card says of each file; arguments as those of ``Source.read``."""
    read = [
        files.read(con, table.paths, table.csv, table.wanted, scratch / str(number), table.root)
        for number, table in enumerate(tables_of(data))
    ]
    about = tuple(more for _, found in read for more in found)
    items, users = (read[1][0] if data.items else None), (read[-1][0] if data.users else None)
    return Opened(read[0][0], items, about, users)
