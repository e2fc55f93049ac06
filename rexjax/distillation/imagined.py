"""Histories that did not happen, for further rounds of the teacher's lists.

The log's own histories are those that the teacher knows by heart: there it says with too much confidence what did
happen. So there may be rounds over histories that might have happened: a share of the items is replaced by draws from
what the teacher expected in their place (4 bytes an interaction more). And a whole history, which is what a user is
served after, has no label in the log: with ``student.whole`` it goes on with a draw from what the teacher expects next.
"""

from typing import Any

import numpy as np

from rexjax.data.histories import Histories
from rexjax.distillation.teacher_lists import TeacherLists

_CHUNK = 1 << 18  # lists in memory at a time
NOTHING = -1
"""Stands where the log's items are held out and nothing is drawn: no label."""


class Records:
    """The records of a log with other items, whose training parts are ``more`` events longer, where there are so many.

    Times stay the log's.
    """

    def __init__(self, source: Any, items: np.ndarray, more: int) -> None:
        """``source`` has random access (``rexjax.data.histories.source``); items int32 [E]."""
        self._source, self._items, self._more = source, items, more

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        record = dict(self._source[number])
        first = int(record["first_event"])
        record["items"] = np.asarray(self._items[first : first + len(record["items"])], np.int32)
        record["valid_start"] = np.minimum(record["valid_start"] + self._more, record["offsets"][1:])
        return record


def training(histories: Histories) -> np.ndarray:
    """The items of the training parts, int32 [E]; ``NOTHING`` where they are held out."""
    held_out = np.zeros(len(histories.items) + 1, np.int64)
    np.add.at(held_out, histories.valid_start, 1)
    np.add.at(held_out, histories.offsets[1:], -1)
    return np.where(np.cumsum(held_out)[:-1] > 0, NOTHING, histories.items).astype(np.int32)


def replace(items: np.ndarray, lists: TeacherLists, share: float, rng: np.random.Generator) -> np.ndarray:
    """Training items int32 [E] with ``share`` of them drawn from the list of the event before.

    A user's first event stays, and what is held out.
    """
    chosen = 1 + np.flatnonzero(rng.random(len(items) - 1) < share)
    return _drawn(items, lists, chosen[items[chosen] != NOTHING], rng)


def go_on(
    items: np.ndarray, lists: TeacherLists, histories: Histories, after: int, rng: np.random.Generator
) -> np.ndarray:
    """Items int32 [E] with a draw as the event ``after`` events behind each training part, where the log has one."""
    at = histories.valid_start + after
    there = (at < histories.offsets[1:]) & (histories.valid_start > histories.offsets[:-1])
    return _drawn(items, lists, at[there], rng)


def _drawn(items: np.ndarray, lists: TeacherLists, events: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    found = items.copy()
    for some in np.split(events, range(_CHUNK, len(events), _CHUNK)):
        logits = lists.logits[some - 1].astype(np.float32)
        cumulative = np.cumsum(np.exp(logits), 1)
        draws = rng.random((len(some), 1)) * cumulative[:, -1:]
        place = np.minimum((cumulative <= draws).sum(1), logits.shape[1] - 1)
        listed = logits[:, -1] < 0  # the file is zeros where there is no list
        found[some[listed]] = lists.ids[some - 1, place][listed]
    return found
