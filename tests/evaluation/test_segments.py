from datetime import UTC, datetime

import numpy as np
import pytest

from rexjax.data.histories import Histories
from rexjax.evaluation import requests, segments

N = 6
START = datetime(2024, 1, 30, 5, tzinfo=UTC).timestamp()
HOUR, DAY = 3600, 86_400
GAPS = [0, HOUR, 20 * HOUR, 3 * DAY, 40 * DAY]
POPULARITY = np.array([0, 1, 30, 30, 700, 9])
CATEGORIES = ["mugs", "", "pots", "mugs", "mugs", "pots"]


def shop(start=START):
    """Five users of 1 to 5 events, then a test of one item after the gap of GAPS; targets 0, 1, 2, 3, 4."""
    items, times, offsets, tests = [], [], [0], []
    for user, gap in enumerate(GAPS):
        events = user + 1
        items += [*([5] * events), user]
        times += [*([start] * events), start + gap]
        offsets.append(len(items))
        tests.append(len(items) - 1)
    return Histories(
        np.asarray(items, np.int32), np.asarray(times, float), np.asarray(offsets), np.asarray(tests), np.asarray(tests)
    )


def parted(log, categories=CATEGORIES):
    asked, _ = requests.build(log, "test", items=N, length=8)
    found = segments.of_users(log, asked, POPULARITY, categories)
    return asked, {segment.name: [segment.values[part] for part in segment.of_user] for segment in found}


def test_each_user_is_in_the_part_that_the_log_says():
    _, found = parted(shop())
    assert found == {
        "events before": ["1 to 2", "1 to 2", "3 to 4", "3 to 4", "5 to 9"],
        "interactions of the target": ["0", "1 to 4", "20 to 99", "20 to 99", "500 to 1999"],
        "category of the target": ["mugs", "none", "pots", "mugs", "mugs"],
        "since the event before": ["the same time", "up to an hour", "up to a day", "up to a week", "longer"],
        "month": ["2024-01", "2024-01", "2024-01", "2024-02", "2024-03"],
        "hour (UTC)": ["00 to 05", "06 to 11", "00 to 05", "00 to 05", "00 to 05"],
    }


def test_times_that_are_no_dates_and_what_parts_nobody_are_left_out():
    _, found = parted(shop(start=0.0), categories=None)
    assert found.keys() == {"events before", "interactions of the target"}


def test_positions_part_users_where_the_log_has_them():
    log = shop()
    shown = np.repeat(np.float32([0, 1, 1, 4, 70]), np.diff(log.offsets))
    _, found = parted(log._replace(positions=shown))
    assert found["position of the target"] == ["0", "1", "1", "3 to 4", "50 and more"]


def test_a_row_for_each_part_with_users():
    log = shop()
    asked, _ = requests.build(log, "test", items=N, length=8)
    values = {"a": np.array([0, 1, 1, 0, 0.5]), "b": np.zeros(5)}
    rows = segments.table(segments.of_users(log, asked, POPULARITY), values)
    events = [row for row in rows if row["segment"] == "events before"]
    assert [(row["value"], row["users"]) for row in events] == [("1 to 2", 2), ("3 to 4", 2), ("5 to 9", 1)]
    first, last = events[0]["models"]["a"], events[-1]["models"]["a"]
    assert first == {"mean": 0.5, "low": 0.0, "high": pytest.approx(0.5 + 1.96 * 0.5)}
    assert last == {"mean": 0.5, "low": None, "high": None}
    assert events[0]["models"]["b"] == {"mean": 0, "low": 0, "high": 0}
    for name in {row["segment"] for row in rows}:
        assert sum(row["users"] for row in rows if row["segment"] == name) == 5


def test_the_worst_are_those_of_whom_most_is_known_and_who_want_most():
    asked, _ = parted(shop())
    users = segments.worst_users(np.array([0, 0.2, 0, 0, 1]), asked, "item {}".format, most=3, shown=2)
    assert [row["events"] for row in users] == [4, 3, 1]
    assert users[0] == {"value": 0, "events": 4, "history": ["item 5", "item 5"], "wanted": ["item 3"]}
    several = asked._replace(target_items=np.array([0, 2, 2, 2, 4], np.int32))
    items = segments.worst_items(np.array([0, 0, 0, 0, 1]), several, str, POPULARITY, most=9)
    assert [(row["item"], row["value"], row["users"], row["interactions"]) for row in items] == [
        ("2", 0, 3, 30),
        ("0", 0, 1, 0),
        ("4", 1, 1, 700),
    ]
