"""Dense ids that stay the same; the twin counts in dictionaries."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rexjax.data import vocabulary
from rexjax.data.vocabulary import DAY, Admission, lookup, of_rows, update
from rexjax.errors import UserError

RULE = Admission(least_events=2, most_days=3.0, kept_events=6)


def days(seed: int, count: int = 12):
    """Days of random events: (ids, times, now)."""
    rng = np.random.default_rng(seed)
    for day in range(count):
        size = rng.integers(0, 30)
        yield [f"id-{n}" for n in rng.zipf(1.3, size) % 40], day * DAY + rng.uniform(0, DAY, size), (day + 1) * DAY


class Twin:
    """Counts, admits and retires by loops."""

    def __init__(self) -> None:
        self.events, self.last, self.dense, self.retired = {}, {}, {}, set()

    def update(self, ids, times, now) -> set[str]:
        for name, time in zip(ids, times, strict=True):
            self.events[name] = self.events.get(name, 0) + 1
            self.last[name] = max(self.last.get(name, -np.inf), time)
        new = {name for name, count in self.events.items() if count >= RULE.least_events} - self.dense.keys()
        self.dense |= dict.fromkeys(new, None)
        age = {name: now - self.last[name] for name in self.dense}
        self.retired = {n for n in age if age[n] > 3 * DAY and self.events[n] < RULE.kept_events}
        return new


@pytest.mark.parametrize("seed", range(3))
def test_ids_are_admitted_and_retired_as_counting_by_hand_says(seed):
    known, twin, numbers = vocabulary.empty(), Twin(), {}
    for ids, times, now in days(seed):
        before = known.rows
        known, change = update(known, ids, times, RULE, now)
        new = twin.update(ids, times, now)
        names = known.ids.to_pylist()
        admitted = {name: int(row) for name, row in zip(names, known.dense, strict=True) if row >= 0}
        assert admitted.keys() == twin.dense.keys() and change.admitted == len(new)
        assert numbers.items() <= admitted.items()  # they stay
        assert sorted(admitted[name] for name in new) == list(range(before, known.rows))
        assert {name for name, gone in zip(names, known.retired, strict=True) if gone} == twin.retired
        expected = [-1 if name in twin.retired or name not in twin.dense else admitted[name] for name in names]
        assert lookup(known, names).tolist() == expected
        assert change.waiting == len(twin.events) - len(twin.dense)
        numbers = admitted


def test_the_order_of_events_does_not_matter():
    ids, times = ["a", "b", "c", "b", "a", "c"], np.arange(6.0)
    found = {
        tuple(lookup(update(of_rows(["z"]), np.array(ids)[list(p)], times[list(p)], Admission(), 9.0)[0], "abcz"))
        for p in itertools.permutations(range(6))
    }
    assert len(found) == 1 and sorted(found.pop()) == [0, 1, 2, 3]


def test_a_retired_id_returns_to_its_row():
    rule = Admission(most_days=1.0)
    known, _ = update(of_rows(["mug", "cup"]), ["mug", "cup"], [0.0, 5 * DAY], rule, 5 * DAY)
    assert lookup(known, ["mug", "cup"]).tolist() == [-1, 1] and known.rows == 2
    known, change = update(known, ["jar", "mug"], [6 * DAY, 6 * DAY], rule, 6 * DAY)
    assert lookup(known, ["mug", "jar"]).tolist() == [0, 2] and change.returned == 1


def test_ids_without_events_are_not_retired():
    known, change = update(of_rows(["mug"]), [], np.zeros(0), Admission(most_days=1.0), 1e9)
    assert lookup(known, ["mug", "cup"]).tolist() == [0, -1] and not change.retired


def test_a_vocabulary_is_stored(tmp_path):
    known, _ = update(of_rows(["mug", "Tassé"]), ["a", "a", "b"], np.array([1.0, 2, 3]), RULE, 4.0)
    vocabulary.write(known, tmp_path / "items.parquet")
    again = vocabulary.read(tmp_path / "items.parquet")
    assert again.ids.equals(known.ids)
    for found, expected in zip(again[1:], known[1:], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_is_no_vocabulary_is_refused(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "dense": [0]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="is no vocabulary: it lacks the column events, last, retired"):
        vocabulary.read(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="'mug' has two rows"):
        of_rows(["mug", "cup", "mug"])
    with pytest.raises(UserError, match="least_events"):
        Admission(least_events=0)
