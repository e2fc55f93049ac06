"""What a finished workdir recommends to the users of its log."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from rexjax.artifacts import store
from rexjax.data import histories
from rexjax.errors import UserError
from rexjax.retrieval import batch
from rexjax.retrieval import index as indices
from rexjax.retrieval.index import Index


class Log(NamedTuple):
    """Whole histories of all users, in the dense ids of the index."""

    users: dict[str, int]
    """Raw id to number."""
    items: list[np.ndarray]
    """int32 [L'] a user, the latest last; items that were taken out of the index are not in it."""
    seen: list[np.ndarray]
    """int32 [S] a user, the distinct ones; empty where seen items may be recommended again."""
    longest: int
    """The largest S."""


class Recommendations(NamedTuple):
    """Answers to some users."""

    table: pa.Table
    """Columns user, item, title (strings), rank (int32, from 1) and score (float32), a row per answer."""
    unknown: list[str]
    """Users that the log does not know, who got the most popular items."""


def read_index(workdir: Path) -> Index:
    """The index of a finished workdir, checked."""
    return indices.read(store.read(workdir / "index").folder)


def read_log(workdir: Path, index: Index) -> Log:
    """The prepared log of a finished workdir.

    Args:
        workdir: what `rexjax run` left.
        index: its index.
    """
    prepare = store.read(workdir / "prepare").folder
    log = histories.read(prepare)
    numbers = {item: number for number, item in enumerate(index.item_ids)}
    raw = _texts(pq.read_table(prepare / "items.parquet", columns=["item_id"])["item_id"])
    number_of = np.asarray([numbers.get(item, -1) for item in raw], np.int32)
    items = number_of[log.items]
    each = [part[part >= 0] for part in np.split(items, log.offsets[1:-1])]
    exclude_seen = json.loads((workdir / "config.json").read_text())["evaluate"]["exclude_seen"]
    seen = [np.unique(part) if exclude_seen else part[:0] for part in each]
    users = _texts(pq.read_table(prepare / "users.parquet").sort_by("user")["user_id"])
    return Log({user: number for number, user in enumerate(users)}, each, seen, max(map(len, seen), default=0))


def recommend(index: Index, log: Log, users: Sequence[str], k: int, left_out: Sequence[int] = ()) -> Recommendations:
    """The k best items of each of ``users``.

    Args:
        index: the index.
        log: the users' histories.
        users: raw ids.
        k: from 1 to N; users with fewer items left get fewer.
        left_out: dense ids that nobody is to get.

    Raises:
        UserError: k is not from 1 to N.
    """
    none = np.empty(0, np.int32)
    numbers = [log.users.get(user) for user in users]
    asked = [none if number is None else log.items[number] for number in numbers]
    seen = [none if number is None else log.seen[number] for number in numbers]
    everywhere = np.asarray(left_out, np.int32)
    if len(everywhere):
        seen = [np.union1d(part, everywhere) for part in seen]
    bound = log.longest + len(everywhere)
    ids, scores = batch.recommend(index, asked, seen, k, excluded=bound)
    unknown = [user for user, number in zip(users, numbers, strict=True) if number is None]
    return Recommendations(_table(index, users, ids, scores), unknown)


def _table(index: Index, users: Sequence[str], ids: np.ndarray, scores: np.ndarray) -> pa.Table:
    there = ids.ravel() >= 0
    wanted = pa.array(ids.ravel()[there])
    of_users = np.repeat(np.arange(len(users)), ids.shape[1])[there]
    return pa.table(
        {
            "user": pa.array(users, pa.string()).take(pa.array(of_users)),
            "item": pa.array(index.item_ids, pa.string()).take(wanted),
            "title": pa.array(index.titles, pa.string()).take(wanted),
            "rank": pa.array(np.tile(np.arange(1, ids.shape[1] + 1, dtype=np.int32), len(users))[there]),
            "score": pa.array(scores.ravel()[there]),
        }
    )


def write(path: Path, table: pa.Table) -> None:
    """Writes ``table`` as Parquet or CSV, whole or not at all.

    Raises:
        UserError: the name ends otherwise, or the file cannot be written.
    """
    writers = {".parquet": pq.write_table, ".csv": pyarrow.csv.write_csv}
    if path.suffix not in writers:
        raise UserError(f"--out {path}: its name must end in .parquet or .csv")
    part = path.with_name(f"{path.name}.tmp")
    try:
        writers[path.suffix](table, part)
        part.replace(path)
    except OSError as error:
        raise UserError(f"--out {path} cannot be written: {error.strerror or error}") from error


def read_ids(path: Path, column: str) -> list[str]:
    """Distinct ids in the order of a file: the ``column`` of CSV or Parquet, else one a line.

    Raises:
        UserError: the file cannot be read, has no such column, or no id.
    """
    try:
        ids = _column(path, column) if path.suffix in (".csv", ".parquet") else path.read_text().splitlines()
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as ids ({str(error).splitlines()[0]}): write one a line") from error
    found = [line for line in dict.fromkeys(line.strip() for line in ids) if line]
    if not found:
        raise UserError(f"{path} has no id: it needs one a line")
    return found


def _column(path: Path, name: str) -> list[str]:
    table = pq.read_table(path) if path.suffix == ".parquet" else _read_csv(path, name)
    if name not in table.column_names:
        raise UserError(f"{path} has no column {name!r}: it has {', '.join(table.column_names)}")
    return _texts(table[name].drop_null())


def _read_csv(path: Path, name: str) -> pa.Table:
    texts = pyarrow.csv.ConvertOptions(column_types={name: pa.string()})  # 007 stays 007
    return pyarrow.csv.read_csv(path, convert_options=texts)


def _texts(column: Any) -> list[str]:
    return pc.cast(column, pa.string()).to_pylist()


def columns_of(workdir: Path) -> dict[str, str]:
    """What the log's columns are called, by what they hold."""
    return dict(store.read(workdir / "prepare").manifest["config"]["data"]["columns"])
