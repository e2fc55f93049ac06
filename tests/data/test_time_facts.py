import re

import numpy as np
import pytest

from rexjax.data import time_facts
from rexjax.data.histories import Histories

DAY = 86_400
START = 1_704_067_200.0
"""2024-01-01."""


def tally(users, now=START + 1000 * DAY, dated=False):
    """Of users with these times, in two records."""
    every = [time for own in users for time in own]
    found = time_facts.TimeTally(min(every), max(every), now, dated)
    for part in (users[:1], users[1:]):
        if part:
            offsets = np.cumsum([0, *map(len, part)])
            events = np.concatenate([np.asarray(own, float) for own in part])
            found.add(Histories(np.zeros(len(events), np.int32), events, offsets, offsets[1:], offsets[1:]))
    return found


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (START, "2024-01-01 00:00:00"),
        (START + 0.75, "2024-01-01 00:00:00"),
        (7029.0, "7029"),
        (1.7e12, "1700000000000"),
    ],
)
def test_a_moment_is_spelt_as_a_date_where_it_is_one(time, expected):
    assert time_facts.spell_time(time) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(START, START + 1, True), (-1e8, START, True), (0, 5000, False), (START, 1.7e12, False), (-1e12, START, False)],
)
def test_a_log_is_of_dates_where_it_ends_in_our_time(first, last, expected):
    assert time_facts.are_dates(first, last) is expected


@pytest.mark.parametrize(
    ("users", "split", "share"),
    [
        (([0, 0, 0, 1], [5, 5]), "leave_one_out", 75),
        (([0, 0, 1], [5, 5, 6]), "leave_one_out", None),  # half of them
        (([0, 1], [1, 2], [2, 3]), "leave_one_out", None),  # two users' times do not meet
        (([0, 0, 0, 1], [5, 5]), "last_session", None),
        (([], [0, 0]), "global_time", 100),
        (([0], [0]), "leave_one_out", None),
    ],
)
def test_events_that_share_their_time_are_a_notice(users, split, share):
    found = tally(users).notices(split)
    sentence = (
        f"{share}% of the events share their time with the one before, so their order says little: name their "
        "session in --data.columns.session and use --data.split last_session."
    )
    assert found == ([sentence] if share else [])


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ([[0, 3 * DAY, 9 * DAY], [0, 90 * DAY], [1, 400 * DAY]], "times seem to count from each user's own start"),
        ([[0, 1, 2], [1, 2]], None),
        ([[0, 1, 2]], None),  # one user alone
        ([[START, START + DAY], [START + 50 * DAY, START + 60 * DAY]], None),
        ([[-DAY, START], [START + DAY, START + 2 * DAY]], "1 events lie before 1970"),
        ([[START, START + 1001 * DAY], [START + 20 * DAY]], "1 events lie in the future"),
        ([[-1e12, START], [START + DAY, START + 2 * DAY]], "1 events lie before 1970"),
        ([[2019, 2021], [2020, 2021]], "look like years, .*--data.columns.time-format %Y"),
        ([[45_000, 45_002.5], [45_001, 45_002]], "look like days as Excel counts them"),
        ([[START, 1e3 * START], [START + DAY]], r"a mix of units \(2 in s, 1 in ms\)"),
        ([[1e3 * START, 1e3 * START + 5], [1e3 * START + 9]], "look like ms, .*--data.columns.time-unit ms"),
        ([[1e6 * START, 1e6 * START + 5], [1e6 * START + 9]], "--data.columns.time-unit us"),
    ],
)
def test_times_that_mislead_are_a_notice_that_says_what_to_do(users, words):
    found = "; ".join(tally(users).notices("leave_one_out"))
    assert re.search(words or "^$", found)


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ([[START, 253_402_300_799.0], [START + DAY]], "^1 events lie in the future"),
        ([[-62_135_596_800.0, START], [START + DAY, START + 2 * DAY]], "^1 events lie before 1970"),
        ([[2e10, 2e10 + DAY], [2e10 + 5]], "^3 events lie in the future"),
    ],
)
def test_the_unit_of_times_that_were_written_as_dates_is_no_question(users, words):
    assert re.search(words, "; ".join(tally(users, dated=True).notices("leave_one_out")))


def test_times_that_were_written_as_dates_are_spelt_as_dates():
    span = tally([[-62_135_596_800.0, 253_402_300_799.0]], dated=True).facts()["time_span"]
    assert span == {"first": "0001-01-01 00:00:00", "last": "9999-12-31 23:59:59"}
    assert tally([[5, 1e13]], dated=True).facts()["time_span"] == {
        "first": "1970-01-01 00:00:05",
        "last": "10000000000000",
    }


def test_the_span_is_of_dates_or_of_numbers():
    facts = tally([[START, START + DAY], [START, START]]).facts()
    assert facts["time_span"] == {"first": "2024-01-01 00:00:00", "last": "2024-01-02 00:00:00"}
    assert facts["tied_events"] == {"events": 1, "share": 0.5}
    assert tally([[3, 4]]).facts()["time_span"] == {"first": 3, "last": 4}


def spaced(rng, users, even):
    """Users of 40 events; a share ``even`` of the inner ones lies midway between the known ones around them."""
    found = []
    for _ in range(users):
        times = START + np.cumsum(rng.exponential(3000, 40).round())
        for at in range(1, 39, 2):
            if rng.random() < even:
                times[at] = (times[at - 1] + times[at + 1]) // 2
        found.append(times.tolist())
    return found


@pytest.mark.parametrize("even, said", [(0.0, False), (0.2, False), (0.8, True), (1.0, True)])
def test_times_midway_between_their_neighbours_look_interpolated(even, said):
    """At most every other event is interpolated here, so that a share of 0.8 makes 0.4."""
    found = tally(spaced(np.random.default_rng(0), 30, even)).notices("leave_one_out")
    words = ("look interpolated", "do not use --data.split global_time")
    assert [all(word in notice for word in words) for notice in found] == ([True] if said else [])


def test_few_events_and_whole_days_say_nothing_of_interpolation():
    assert tally(spaced(np.random.default_rng(0), 2, 1.0)).notices("leave_one_out") == []
    days = [[START + DAY * (user + step) for step in range(30)] for user in range(0, 60, 10)]
    assert tally(days).notices("leave_one_out") == []


@pytest.mark.parametrize("step, said", [(DAY, True), (DAY / 2, False)])
def test_the_order_within_a_day_is_said_where_times_are_whole_days(step, said):
    users = [[START, START, START + step, START + 2 * step], [START + 5 * step, START + 9 * step]]
    sentence = "Times are whole days, and 25% of the events share their day with the one before: their order is that of"
    found = tally(users).notices("leave_one_out")
    assert [notice.startswith(sentence) for notice in found] == ([True] if said else [])
    assert tally(users).notices("last_session") == []


def test_the_card_says_which_events_share_a_day_and_what_orders_ties():
    facts = tally([[START, START, START + 5, START + DAY], [START + 3 * DAY]]).facts()
    assert facts["tied_events"] == {"events": 1, "share": 1 / 3} and facts["order_of_ties"] == "the log's rows"
    assert facts["same_day_events"] == {"events": 2, "share": 2 / 3}
    assert "same_day_events" not in tally([[0, 1]]).facts()
