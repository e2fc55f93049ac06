"""What a finished workdir recommends to the users of its log."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from rexjax.artifacts import store
from rexjax.artifacts.store import Artifact
from rexjax.data import histories
from rexjax.errors import UserError
from rexjax.models.scorer import USER, Query, Scorer, ask
from rexjax.pipeline.reranking import Reranking, rerank_answers
from rexjax.retrieval import batch
from rexjax.retrieval import index as indices
from rexjax.retrieval.index import Index


class Log(NamedTuple):
    """Whole histories of all users, in the dense ids of the index."""

    users: dict[str, int] | None
    """Raw id to number; None where stage prepare kept no ids of users."""
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
    return store.reading(workdir / "index", _read_index)


def _read_index(artifact: Artifact) -> Index:
    return indices.read(store.check_files(artifact).folder)


def read_log(workdir: Path, index: Index) -> Log:
    """The prepared log of a finished workdir.

    Args:
        workdir: what `rexjax run` left.
        index: its index.
    """
    return store.reading(workdir / "prepare", partial(_read_log, workdir, index))


def _read_log(workdir: Path, index: Index, artifact: Artifact) -> Log:
    prepare = store.check_files(artifact).folder
    log = histories.read(prepare)
    raw = _texts(pq.read_table(prepare / "items.parquet", columns=["item_id"])["item_id"])
    number_of = np.asarray([index.rows.get(item, -1) for item in raw], np.int32)
    items = number_of[log.items]
    each = [part[part >= 0] for part in np.split(items, log.offsets[1:-1])]
    exclude_seen = json.loads((workdir / "config.json").read_text())["evaluate"]["exclude_seen"]
    seen = [np.unique(part) if exclude_seen else part[:0] for part in each]
    return Log(_user_numbers(prepare / "users.parquet"), each, seen, max(map(len, seen), default=0))


def _user_numbers(path: Path) -> dict[str, int] | None:
    if not path.exists():
        return None
    return {user: number for number, user in enumerate(_texts(pq.read_table(path).sort_by("user")["user_id"]))}


def known_users(log: Log) -> dict[str, int]:
    """Raw ids of the users, and their numbers.

    Raises:
        UserError: stage prepare kept no ids of users.
    """
    if log.users is None:
        raise UserError(
            "this workdir keeps no ids of users (data.user_ids is off): ask with histories, or prepare the log again "
            "with --data.user-ids"
        )
    return log.users


def recommend(
    index: Index,
    log: Log,
    users: Sequence[str],
    k: int,
    left_out: Sequence[int] | np.ndarray = (),
    only: Sequence[int] | np.ndarray = (),
    reranking: Reranking | None = None,
) -> Recommendations:
    """The k best items of each of ``users``.

    Args:
        index: the index.
        log: the users' histories.
        users: raw ids.
        k: from 1 to N; users with fewer items left get fewer.
        left_out: dense ids that nobody is to get.
        only: dense ids that alone are recommended; none: all.
        reranking: how lists are chosen from the model's candidates; None: by their scores.

    Raises:
        UserError: k is not from 1 to N, or the log has no ids of users.
    """
    known = known_users(log)
    none = np.empty(0, np.int32)
    numbers = [known.get(user) for user in users]
    asked = [none if number is None else log.items[number] for number in numbers]
    seen = [none if number is None else log.seen[number] for number in numbers]
    ids, scores = _answer(index, asked, seen, k, left_out, only, log.longest, _dense_users(numbers), reranking)
    unknown = [user for user, number in zip(users, numbers, strict=True) if number is None]
    return Recommendations(_table(index, pa.array(users, pa.string()), ids, scores), unknown)


def recommend_after(
    index: Index,
    histories: Iterable[Sequence[str]],
    k: int,
    left_out: Sequence[int] | np.ndarray = (),
    only: Sequence[int] | np.ndarray = (),
    *,
    exclude_seen: bool = True,
    longest: int = 0,
    reranking: Reranking | None = None,
) -> Recommendations:
    """The k best items after each history of raw item ids; column ``user`` is the history's number.

    Args:
        index: the index.
        histories: item ids of each, the latest last; ids that the catalogue does not know are left out.
        k: see ``recommend``.
        left_out: see ``recommend``.
        only: see ``recommend``.
        exclude_seen: items of the history are not recommended.
        longest: a bound of the histories' lengths: calls within it share a compiled program.
        reranking: see ``recommend``.

    Returns:
        ``unknown`` holds the item ids that were left out.
    """
    asked, unknown = [], dict[str, None]()
    for history in histories:
        asked.append(np.asarray([index.rows[item] for item in history if item in index.rows], np.int32))
        unknown |= dict.fromkeys(item for item in history if item not in index.rows)
    seen = [np.unique(history) if exclude_seen else history[:0] for history in asked]
    bound = max([longest, *map(len, seen)])
    ids, scores = _answer(index, asked, seen, k, left_out, only, bound, None, reranking)
    return Recommendations(_table(index, pa.array(range(len(asked))), ids, scores), list(unknown))


def _answer(
    index: Index,
    histories: list[np.ndarray],
    seen: list[np.ndarray],
    k: int,
    left_out: Sequence[int] | np.ndarray,
    only: Sequence[int] | np.ndarray,
    longest: int,
    users: np.ndarray | None = None,
    reranking: Reranking | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    if reranking and 1 <= k <= len(index.item_ids):
        wanted = reranking.candidates(k)
        ids, scores = _answer(index, histories, seen, wanted, left_out, only, longest, users)
        return rerank_answers(reranking, histories, ids, scores, k)
    everywhere = np.asarray(left_out, np.int32)
    if len(everywhere):
        seen = [np.union1d(part, everywhere) for part in seen]
    if len(only):
        return _among(index, histories, seen, np.asarray(only, np.int32), k, users)
    return batch.recommend(index, histories, seen, k, excluded=longest + len(everywhere), users=users)


def _dense_users(numbers: list[int | None]) -> np.ndarray:
    """int32 [U], -1 where there is no number."""
    return np.asarray([-1 if number is None else number for number in numbers], np.int32)


def _among(
    index: Index,
    histories: list[np.ndarray],
    seen: list[np.ndarray],
    only: np.ndarray,
    k: int,
    users: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the items ``only``, which alone are scored: ids int32 [U, k], -1 where none is left, and scores."""
    width = min(k, len(only))
    ids = np.full((len(histories), width), -1, np.int32)
    scores = np.full((len(histories), width), -np.inf, np.float32)
    room = np.full(1 << max(len(only) - 1, 0).bit_length(), only[0], np.int32)
    room[: len(only)] = only
    for user, history in enumerate(histories):
        row = np.full((1, index.length), -1, np.int32)
        latest = history[-index.length :]
        row[0, index.length - len(latest) :] = latest
        query = ask(index.scorer, row, None, None if users is None else {USER: users[user : user + 1]})
        own = np.asarray(_scores(index.scorer, query, room))[0, : len(only)] if len(history) else index.share[only]
        own = np.where(np.isin(only, seen[user]), -np.inf, own)
        best = np.argsort(-own, kind="stable")[:width]
        ids[user], scores[user] = np.where(np.isneginf(own[best]), -1, only[best]), own[best]
    return ids, scores


@jax.jit
def _scores(scorer: Scorer, query: Query, ids: jax.Array) -> jax.Array:
    return scorer.score(scorer.state, scorer.encode(scorer.state, query), ids)


def _table(index: Index, users: pa.Array, ids: np.ndarray, scores: np.ndarray) -> pa.Table:
    there = ids.ravel() >= 0
    wanted = pa.array(ids.ravel()[there])
    of_users = np.repeat(np.arange(len(users)), ids.shape[1])[there]
    return pa.table(
        {
            "user": users.take(pa.array(of_users)),
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
    """Distinct ids, as written, in the order of a file: the ``column`` of CSV or Parquet, else one a line.

    Raises:
        UserError: the file cannot be read, has no such column, or no id.
    """
    try:
        ids = (
            _column(path, column)
            if path.suffix in (".csv", ".parquet")
            else path.read_text(encoding="utf-8").splitlines()
        )
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as ids ({str(error).splitlines()[0]}): write one a line") from error
    found = [line for line in dict.fromkeys(ids) if line.strip()]
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
