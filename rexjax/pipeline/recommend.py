"""Recommendations for users of the log, or for histories, as a table."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.artifacts.store import Artifact
from rexjax.data import histories as packed
from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.models.scorer import Query, Scorer
from rexjax.retrieval import batch
from rexjax.retrieval.index import Index
from rexjax.runtime.progress import notice


class Log(NamedTuple):
    """The histories of a log by its raw user ids."""

    users: list[str]
    """Raw ids by dense id."""
    rows: dict[str, int]
    """Dense ids by raw id."""
    histories: Histories

    def history(self, user: int) -> np.ndarray:
        """All items of a user, int32, the latest last."""
        return self.histories.items[self.histories.offsets[user] : self.histories.offsets[user + 1]]


class Asked(NamedTuple):
    """Whose recommendations are asked for."""

    names: list[Any]
    """What the answer calls them."""
    histories: list[np.ndarray]
    """Dense item ids of each, the latest last."""


def read_log(prepared: Artifact) -> Log:
    """The users and histories of stage prepare."""
    users = [str(user) for user in pq.read_table(prepared.folder / "users.parquet")["user_id"].to_pylist()]
    return Log(users, {user: row for row, user in enumerate(users)}, packed.read(prepared.folder))


def of_users(log: Log, users: Sequence[Any] | str) -> Asked:
    """Histories of users by their raw ids, or of "all"; unknown users have none, and that is said."""
    names = log.users if isinstance(users, str) and users == "all" else [str(user) for user in users]
    unknown = [name for name in names if name not in log.rows]
    if unknown:
        some = ", ".join(unknown[:3]) + (" …" if len(unknown) > 3 else "")
        notice(f"{len(unknown)} of {len(names)} users are not in the log and get the most popular items: {some}")
    nothing = np.zeros(0, np.int32)
    return Asked(names, [log.history(log.rows[name]) if name in log.rows else nothing for name in names])


def of_histories(index: Index, histories: Iterable[Sequence[Any]]) -> Asked:
    """Histories of item ids; items that the catalogue does not know are left out, and that is said."""
    found, unknown = [], set()
    for history in histories:
        names = [str(item) for item in history]
        unknown |= {name for name in names if name not in index.rows}
        found.append(np.asarray([index.rows[name] for name in names if name in index.rows], np.int32))
    if unknown:
        notice(f"not in the catalogue, left out: {', '.join(sorted(unknown)[:5])}")
    return Asked(list(range(len(found))), found)


def dense(index: Index, items: Sequence[Any], argument: str) -> np.ndarray:
    """Dense ids of raw ones.

    Raises:
        UserError: one is not in the catalogue; all of them are named.
    """
    names = [str(item) for item in items]
    if unknown := [name for name in names if name not in index.rows]:
        raise UserError(
            f"{argument} names {len(unknown)} items that are not in the catalogue: {', '.join(unknown[:5])}"
        )
    return np.asarray([index.rows[name] for name in names], np.int32)


def answer(
    index: Index,
    asked: Asked,
    k: int,
    *,
    exclude_seen: bool = True,
    exclude: Sequence[Any] = (),
    only: Sequence[Any] = (),
    excluded: int = batch.EXCLUDED,
) -> pa.Table:
    """The k best items of each.

    Args:
        index: what is served.
        asked: whose.
        k: items of each.
        exclude_seen: items of the history are not recommended.
        exclude: raw item ids that are not recommended.
        only: raw item ids that alone are; (): all.
        excluded: a bound of the lengths of all lists of seen items, see ``batch.recommend``.

    Returns:
        Columns user, rank (from 1), item, title, score; fewer than k rows where fewer items are left.
    """
    without = dense(index, exclude, "exclude")
    seen = [np.append(np.unique(history), without) if exclude_seen else without for history in asked.histories]
    if len(only):
        ids, scores = _among(index, asked.histories, seen, dense(index, only, "only"), k)
    else:
        ids, scores = batch.recommend(index, asked.histories, seen, k, excluded=excluded)
    users, ranks = np.nonzero(ids >= 0)
    items = ids[users, ranks]
    return pa.table(
        {
            "user": [asked.names[user] for user in users.tolist()],
            "rank": (ranks + 1).astype(np.int32),
            "item": [index.item_ids[item] for item in items.tolist()],
            "title": [index.titles[item] for item in items.tolist()],
            "score": scores[users, ranks],
        }
    )


def _among(
    index: Index, histories: list[np.ndarray], seen: list[np.ndarray], only: np.ndarray, k: int
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
        own = np.asarray(_scores(index.scorer, row, room))[0, : len(only)] if len(history) else index.share[only]
        own = np.where(np.isin(only, seen[user]), -np.inf, own)
        best = np.argsort(-own, kind="stable")[:width]
        ids[user], scores[user] = np.where(np.isneginf(own[best]), -1, only[best]), own[best]
    return ids, scores


@jax.jit
def _scores(scorer: Scorer, histories: jax.Array, ids: jax.Array) -> jax.Array:
    encoded = scorer.encode(scorer.state, Query(jnp.asarray(histories)))
    return scorer.score(scorer.state, encoded, ids)
