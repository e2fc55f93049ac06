"""Some users of the test as a person reads them: what they had, what is recommended, what they took."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rexjax.evaluation.models import top_lists
from rexjax.evaluation.ranking import Requests, padded, ragged
from rexjax.models.scorer import Scorer

COUNT = 10


def some(asked: Requests, seed: int, count: int = COUNT) -> np.ndarray:
    """Numbers of users, drawn without replacement by ``seed``, rising: int64 [at most ``count``]."""
    users = len(asked.histories)
    return np.sort(np.random.default_rng(seed).permutation(users)[:count])


def of_users(
    scorer: Scorer, asked: Requests, users: np.ndarray, spell: Callable[[int], str], k: int = 5, shown: int = 5
) -> list[dict[str, Any]]:
    """Histories and recommendations by title.

    Args:
        scorer: the served model.
        asked: the test.
        users: int64 [E], which users.
        spell: names an item.
        k: recommended items.
        shown: items of a history and of the targets, at most.

    Returns:
        ``{"history", "recommended", "wanted", "hits"}`` each: titles, the latest or the best as a reader expects
        them (events in order, recommendations best first); ``hits`` are the recommended titles that were wanted.
    """
    lists = top_lists(scorer, _only(asked, users), k)
    rows = []
    for user, items in zip(users, lists, strict=True):
        known = asked.histories[user][asked.histories[user] >= 0]
        wanted = asked.target_items[asked.target_offsets[user] : asked.target_offsets[user + 1]]
        rows.append(
            {
                "history": [spell(int(item)) for item in known[-shown:]],
                "recommended": [spell(int(item)) for item in items if item >= 0],
                "wanted": [spell(int(item)) for item in wanted[:shown]],
                "hits": [spell(int(item)) for item in items if item in wanted],
            }
        )
    return rows


def _only(asked: Requests, users: np.ndarray) -> Requests:
    """The requests of ``users``."""
    seen = padded(asked.seen_items, asked.seen_offsets, users)
    targets = padded(asked.target_items, asked.target_offsets, users)
    return Requests(
        asked.histories[users],
        *ragged([row[row >= 0] for row in seen]),
        *ragged([row[row >= 0] for row in targets]),
        None if asked.times is None else asked.times[users],
        {name: values[users] for name, values in asked.features.items()},
    )
