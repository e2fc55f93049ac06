"""Answers to many users, in batches of fixed shapes, so that nothing compiles twice."""

from collections.abc import Sequence
from functools import partial

import jax
import numpy as np

from rexjax.errors import UserError
from rexjax.models.scorer import USER, Scorer
from rexjax.retrieval.answer import answer
from rexjax.retrieval.index import Index

BATCH = 256
"""Users at a time; one user alone has a program of his own."""
EXCLUDED = 64
"""Items that can be left out for each user, at least."""

Lists = Sequence[Sequence[int] | np.ndarray]


def recommend(
    index: Index,
    histories: Lists,
    exclude: Lists,
    k: int,
    *,
    excluded: int = EXCLUDED,
    users: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best items of each user, exact.

    One program is compiled for one user alone and one for several, for each k and each power of two that holds the
    longest list of ``exclude``.

    Args:
        index: what ``rexjax.retrieval.index.read`` returned.
        histories: U lists of dense ids, the latest last; of long ones the latest ``index.length`` count. Users without
            any get the most popular items.
        exclude: U lists of dense ids that may not be answered.
        k: from 1 to N.
        excluded: a bound of the lists' lengths, of this and of later calls. Lists within it share a program.
        users: int32 [U], dense ids in the log, -1 where a user is not known; None: none is. For models that read them.

    Returns:
        ids int32 [U, k] and scores float32 [U, k], falling; -1 and -inf where fewer than k items are left. Scores of
        users without history are the items' shares of all training interactions.

    Raises:
        UserError: k is not from 1 to N.
        ValueError: there are not as many histories as lists of excluded items.
    """
    if not 1 <= k <= len(index.item_ids):
        raise UserError(f"--k {k}: this catalogue has {len(index.item_ids)} items: set k from 1 to that number")
    if len(histories) != len(exclude):
        raise ValueError(f"{len(histories)} histories and {len(exclude)} lists of excluded items: give one to each")
    ids = np.full((len(histories), k), -1, np.int32)
    scores = np.full((len(histories), k), -np.inf, np.float32)
    known = np.full(len(histories), -1, np.int32) if users is None else users
    asked = np.asarray([user for user, history in enumerate(histories) if len(history)], np.int64)
    for user in set(range(len(histories))) - set(asked.tolist()):
        _fill_by_popularity(index, exclude[user], ids[user], scores[user])
    size = 1 if len(asked) == 1 else BATCH
    width = _power_of_two(max([excluded, *(len(exclude[user]) for user in asked)]))
    found = []
    for start in range(0, len(asked), size):
        part = asked[start : start + size]
        rows = _pad([histories[user] for user in part], size, index.length, from_right=True)
        left_out = _pad([exclude[user] for user in part], size, width)
        features = {USER: np.pad(known[part], (0, size - len(part)))} if USER in index.scorer.reads else None
        found.append((part, _answer(index.scorer, rows, left_out, features, k)))  # the host pads the next one meanwhile
    for part, batch in found:
        best, items = jax.device_get(batch)
        scores[part], ids[part] = best[: len(part)], items[: len(part)]
    ids[np.isneginf(scores)] = -1
    return ids, scores


@partial(jax.jit, static_argnames="k")
def _answer(
    scorer: Scorer, histories: jax.Array, exclude: jax.Array, features: dict[str, jax.Array] | None, k: int
) -> tuple[jax.Array, jax.Array]:
    return answer(scorer, k)(scorer.state, histories, exclude, features=features)


def _pad(lists: Lists, rows: int, width: int, *, from_right: bool = False) -> np.ndarray:
    """int32 [rows, width], filled with -1; lists stand at the left, or their latest part at the right."""
    padded = np.full((rows, width), -1, np.int32)
    for row, ids in zip(padded, lists, strict=False):
        if from_right:
            latest = ids[-width:]
            row[width - len(latest) :] = latest
        else:
            row[: len(ids)] = ids
    return padded


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()


def _fill_by_popularity(index: Index, exclude: Sequence[int] | np.ndarray, ids: np.ndarray, scores: np.ndarray) -> None:
    candidates = index.popular[: len(ids) + len(exclude)]
    best = candidates[~np.isin(candidates, np.asarray(exclude, np.int32))][: len(ids)]
    ids[: len(best)], scores[: len(best)] = best, index.share[best]
