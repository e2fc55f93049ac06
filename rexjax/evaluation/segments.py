"""Metrics by segment of users, and the worst users and items."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rexjax.data.histories import Histories
from rexjax.data.time_facts import DAY, are_dates
from rexjax.evaluation.ranking import Requests
from rexjax.evaluation.requests import target_events
from rexjax.models.scorer import USER

_LENGTHS = (1, 3, 5, 10, 20, 50, 100, 200)
_INTERACTIONS = (0, 1, 5, 20, 100, 500, 2000, 10_000)
_POSITIONS = (0, 1, 2, 3, 5, 10, 20, 50)
_GAPS = {
    "the same time": 0,
    "up to an hour": 3600,
    "up to a day": DAY,
    "up to a week": 7 * DAY,
    "up to 30 days": 30 * DAY,
}
_CATEGORIES = 10
"""The most frequent ones; the others are one value."""
_Z = 1.96


class Segment(NamedTuple):
    """A partition of the users of a test."""

    name: str
    """Such as "events before"."""
    values: list[str]
    """The parts, such as "5 to 9"."""
    of_user: np.ndarray
    """int [U], the part of each user."""


def of_users(
    log: Histories, asked: Requests, popularity: np.ndarray, categories: Sequence[str] | None = None
) -> list[Segment]:
    """All segments that the log gives for the users of the test part.

    Args:
        log: what ``asked`` was built from.
        asked: the requests of the test, with the users' numbers among their features.
        popularity: int64 [N], training interactions; a user with several targets counts by their mean.
        categories: str [N], '' where an item has none; a user with several targets counts by the first, and likewise
            by the position that it was shown at.
    """
    users = np.asarray(asked.features[USER], np.int64)
    at, first = log.test_start[users], log.offsets[users]
    targets = asked.target_items
    mean = np.add.reduceat(popularity[targets], asked.target_offsets[:-1]) / np.diff(asked.target_offsets)
    found = [
        _ranges("events before", _LENGTHS, at - first),
        _ranges("interactions of the target", _INTERACTIONS, mean),
    ]
    if categories is not None:
        found.append(
            _most_frequent("category of the target", np.asarray(categories)[targets[asked.target_offsets[:-1]]])
        )
    if len(log.positions):
        shown = log.positions[target_events(log, asked, "test", len(popularity))[asked.target_offsets[:-1]]]
        found.append(_ranges("position of the target", _POSITIONS, shown))
    found += _times(log.times[at], log.times[at - 1], log.times)
    return [segment for segment in found if len(np.unique(segment.of_user)) > 1]


def _times(asked: np.ndarray, before: np.ndarray, all_times: np.ndarray) -> list[Segment]:
    if not are_dates(float(all_times.min()), float(all_times.max())):
        return []
    gaps = np.searchsorted(np.array(list(_GAPS.values()), np.float64), asked - before)
    moments = asked.astype("datetime64[s]")
    months = moments.astype("datetime64[M]")
    kept, of_month = np.unique(months, return_inverse=True)
    hours = (asked // 3600 % 24).astype(int)
    return [
        Segment("since the event before", [*_GAPS, "longer"], gaps),
        Segment("month", [str(month) for month in kept], of_month),
        Segment("hour (UTC)", [f"{hour:02d} to {hour + 5:02d}" for hour in range(0, 24, 6)], hours // 6),
    ]


def _ranges(name: str, starts: Sequence[int], values: np.ndarray) -> Segment:
    ends = [f"{start} to {after - 1}" if after - 1 > start else f"{start}" for start, after in _pairs(starts)]
    return Segment(name, [*ends, f"{starts[-1]} and more"], np.searchsorted(starts, values, "right") - 1)


def _pairs(starts: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(starts[:-1], starts[1:], strict=True))


def _most_frequent(name: str, labels: np.ndarray) -> Segment:
    values, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_CATEGORIES]
    place = np.full(len(values), len(order))
    place[order] = np.arange(len(order))
    return Segment(name, [*(str(values[code]) or "none" for code in order), "others"], place[codes])


def table(segments: Sequence[Segment], per_user: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One row for each part that has users.

    Args:
        segments: partitions of U users.
        per_user: float [U] by model.

    Returns:
        ``{"segment", "value", "users", "models": {NAME: {"mean", "low", "high"}}}`` each; 95 % intervals over the
        part's users, None where it has one.
    """
    rows = []
    for segment in segments:
        for part, value in enumerate(segment.values):
            inside = segment.of_user == part
            if inside.any():
                models = {name: _estimate(values[inside]) for name, values in per_user.items()}
                rows.append({"segment": segment.name, "value": value, "users": int(inside.sum()), "models": models})
    return rows


def _estimate(values: np.ndarray) -> dict[str, float | None]:
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None}
    half = _Z * float(values.std(ddof=1)) / len(values) ** 0.5
    return {"mean": mean, "low": max(mean - half, 0.0), "high": mean + half}


def worst_users(
    values: np.ndarray, asked: Requests, spell: Callable[[int], str], most: int = 20, shown: int = 5
) -> list[dict[str, Any]]:
    """The users with the lowest values, longest histories first.

    Args:
        values: float [U], a metric of the model.
        asked: what was asked.
        spell: names an item.
        most: users, at most.
        shown: items of a history and of the targets, at most.

    Returns:
        ``{"value", "events", "history": [item], "wanted": [item]}`` each, the latest events last.
    """
    events = (asked.histories >= 0).sum(1)
    rows = []
    for user in np.lexsort((-events, values))[:most]:
        known = asked.histories[user][asked.histories[user] >= 0]
        wanted = asked.target_items[asked.target_offsets[user] : asked.target_offsets[user + 1]]
        rows.append(
            {
                "value": float(values[user]),
                "events": int(events[user]),
                "history": [spell(int(item)) for item in known[-shown:]],
                "wanted": [spell(int(item)) for item in wanted[:shown]],
            }
        )
    return rows


def worst_items(
    values: np.ndarray, asked: Requests, spell: Callable[[int], str], popularity: np.ndarray, most: int = 20
) -> list[dict[str, Any]]:
    """The target items with the lowest mean value over their users, most frequent targets first.

    Args:
        values: float [U], a metric of the model.
        asked: what was asked.
        spell: names an item.
        popularity: int64 [N], training interactions.
        most: items, at most.

    Returns:
        ``{"item", "value", "users", "interactions"}`` each.
    """
    users = np.diff(asked.target_offsets)
    wanted = np.bincount(asked.target_items, minlength=len(popularity))
    total = np.bincount(asked.target_items, np.repeat(values, users), len(popularity))
    mean = np.where(wanted > 0, total / np.maximum(wanted, 1), np.inf)
    chosen = [item for item in np.lexsort((-wanted, mean))[:most] if wanted[item]]
    return [
        {
            "item": spell(int(item)),
            "value": float(mean[item]),
            "users": int(wanted[item]),
            "interactions": int(popularity[item]),
        }
        for item in chosen
    ]
