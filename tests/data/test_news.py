"""New events beside known ones; the twin works on sets."""

import numpy as np
import pytest

from rexjax.data import news
from rexjax.data.histories import concatenate
from rexjax.data.news import DAY, Events
from rexjax.errors import UserError


def random_events(rng, count, users, items, times) -> Events:
    """Distinct (user, item, time)."""
    rows = {(int(rng.integers(users)), int(rng.integers(items)), float(rng.integers(*times))) for _ in range(count)}
    columns = zip(*sorted(rows, key=lambda row: row[2]), strict=True)
    return Events(*(np.array(column) for column in columns))


def rows_of(events: Events) -> list[tuple[int, int, float]]:
    return list(zip(*(column.tolist() for column in events), strict=True))


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_taken_is_what_sets_say(seed, repeats):
    rng = np.random.default_rng(seed)
    known = random_events(rng, 60, 6, 8, (0, 50))
    log = random_events(rng, 120, 8, 10, (20, 90))
    log = Events(*(np.concatenate(pair) for pair in zip(log, (column[::3] for column in known), strict=True)))
    taken, found = news.take_new(known, log, repeats=repeats)
    before, watermark = set(rows_of(known)), max(known.times)
    users, items = max(known.users) + 1, max(known.items) + 1
    pairs = {row[:2] for row in before}
    fresh = [row for row in rows_of(log) if (row not in before if repeats else row[:2] not in pairs)]
    expected = [row for row in fresh if row[2] > watermark or row[0] >= users or row[1] >= items]
    assert sorted(rows_of(taken)) == sorted(expected)
    assert found == (len(expected), len(fresh) - len(expected), watermark, max(log.times))


def test_a_second_time_nothing_is_new():
    rng = np.random.default_rng(0)
    known, log = random_events(rng, 40, 5, 7, (0, 50)), random_events(rng, 60, 6, 9, (30, 80))
    taken, _ = news.take_new(known, log, repeats=True)
    grown = Events(*(np.concatenate(pair) for pair in zip(known, taken, strict=True)))
    again, found = news.take_new(grown, log, repeats=True)
    assert not len(again.users) and found.new == 0


def test_a_log_that_ends_before_the_watermark_is_refused():
    known = Events(np.zeros(1, int), np.zeros(1, int), np.array([1.7e9]))
    old = known._replace(times=np.array([1.6e9]))
    with pytest.raises(UserError, match="ends at 2020-09-13 12:26:40, before the watermark 2023-11-14"):
        news.take_new(known, old, repeats=True)


def test_joined_histories_are_sorted_and_split_in_time():
    rng = np.random.default_rng(1)
    known, new = random_events(rng, 50, 5, 7, (0, 50)), random_events(rng, 50, 9, 9, (50, 80))
    joined = news.join(known, new, 12, (60.0, 70.0))
    assert joined.users == 12
    for user in range(12):
        start, valid, test, stop = (
            joined.offsets[user], joined.valid_start[user], joined.test_start[user], joined.offsets[user + 1],
        )  # fmt: skip
        own = sorted(row[2] for row in rows_of(known) + rows_of(new) if row[0] == user)
        assert joined.times[start:stop].tolist() == own
        assert (joined.times[start:valid] < 60).all() and (joined.times[test:stop] >= 70).all()
        assert ((joined.times[valid:test] >= 60) & (joined.times[valid:test] < 70)).all()


def test_records_are_the_histories(monkeypatch):
    monkeypatch.setattr(news, "USERS_PER_RECORD", 4)
    joined = news.join(
        random_events(np.random.default_rng(1), 50, 9, 7, (0, 50)),
        Events(*[np.zeros(0, int)] * 2, np.zeros(0)),
        11,
        (20, 30),
    )
    again = concatenate(list(news.records(joined)))
    for name in ("items", "times", "offsets", "valid_start", "test_start"):
        np.testing.assert_array_equal(getattr(again, name), getattr(joined, name))
    np.testing.assert_array_equal(again.first_event, np.arange(len(joined.items)))


def test_the_last_days_test_but_never_what_was_seen():
    assert news.cuts(10 * DAY, 0.0, 1.0) == (8 * DAY, 9 * DAY)
    assert news.cuts(10 * DAY, 9.4 * DAY, 1.0) == pytest.approx((9.6 * DAY, 9.8 * DAY))
    with pytest.raises(UserError, match="no event is later"):
        news.cuts(DAY, DAY, 1.0)
