import numpy as np
import pytest

from rexjax.data.features import as_of
from rexjax.data.features.as_of import Changes
from rexjax.errors import UserError
from tests.reference import features as slow


@pytest.mark.parametrize("seed", range(20))
def test_the_join_is_that_of_a_loop_and_reads_no_future_value(seed):
    rng = np.random.default_rng(seed)
    events, rows = int(rng.integers(0, 60)), int(rng.integers(0, 40))
    users, times = rng.integers(0, 6, events), rng.integers(0, 10, events).astype(float)
    changes = Changes(rng.integers(-1, 6, rows), rng.integers(0, 10, rows).astype(float))
    found = as_of.join(users, times, changes)
    assert found.tolist() == slow.as_of(users, times, list(zip(*changes, strict=True))).tolist()
    known = found >= 0
    assert (changes.times[found[known]] < times[known]).all()
    as_of.refuse_future(found, times, changes)


@pytest.mark.parametrize("seed", range(5))
def test_values_of_the_future_change_nothing(seed):
    rng = np.random.default_rng(seed)
    users, times = rng.integers(0, 5, 50), np.full(50, 7.0)
    early = Changes(rng.integers(0, 5, 20), rng.uniform(0, 7, 20))
    late = Changes(rng.integers(0, 5, 20), rng.uniform(7, 9, 20))
    both = Changes(*(np.concatenate(pair) for pair in zip(early, late, strict=True)))
    np.testing.assert_array_equal(as_of.join(users, times, both), as_of.join(users, times, early))


def test_a_future_value_that_is_asked_for_is_refused():
    changes = Changes(np.array([0, 0]), np.array([1.0, 5.0]))
    with pytest.raises(UserError, match="1 of 2 events read a value from the future: event 2 at 5 reads one"):
        as_of.refuse_future(np.array([0, 1]), np.array([2.0, 5.0]), changes)


def test_a_change_without_a_time_is_refused():
    with pytest.raises(UserError, match="row 2 of the users' values has no time"):
        as_of.join(np.array([0]), np.array([1.0]), Changes(np.array([0, 0]), np.array([1.0, np.nan])))
