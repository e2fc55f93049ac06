import numpy as np
import pytest

from rexjax.data import histories
from rexjax.families import parts_of_logs
from rexjax.families.base import TrainingData
from tests.twin_cases import histories as random_log

ITEMS = 15
LOG = random_log(np.random.default_rng(0), users=40)
VECTORS = np.arange(ITEMS, dtype=np.float32)[:, None]


def data():
    whole = TrainingData(LOG, [LOG._asdict()], ITEMS, np.zeros(ITEMS, int), length=5, content={"text": VECTORS})
    _, events = whole.events()
    counts = np.bincount(LOG.items[events], minlength=ITEMS)
    return TrainingData(LOG, [LOG._asdict()], ITEMS, counts, length=5, content={"text": VECTORS})


def parts(log, user):
    bounds = log.offsets[user], log.valid_start[user], log.test_start[user], log.offsets[user + 1]
    return [log.items[a:b].tolist() for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def trained(found):
    return np.bincount(found.log.items[found.events()[1]], minlength=found.items)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_users_keep_their_numbers_and_histories_or_have_none(share):
    found = parts_of_logs.with_users(data(), share, seed=3)
    kept = [user for user in range(40) if np.diff(found.log.offsets)[user]]
    assert len(kept) == round(40 * share) and found.log.users == 40
    assert all(parts(found.log, user) == parts(LOG, user) for user in kept)
    np.testing.assert_array_equal(found.popularity, trained(found))
    smaller = parts_of_logs.with_users(data(), share / 2, seed=3)
    assert set(np.flatnonzero(np.diff(smaller.log.offsets))) <= set(kept)


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_the_latest_training_events_stay_and_all_that_is_held_out(share):
    whole, found = data(), parts_of_logs.with_latest(data(), share)
    times = np.sort(LOG.times[whole.events()[1]])
    kept = found.log.times[found.events()[1]]
    assert len(kept) == round(share * len(times))
    np.testing.assert_array_equal(np.sort(kept), times[len(times) - len(kept) :])
    assert all(parts(found.log, user)[1:] == parts(LOG, user)[1:] for user in range(40))
    places = histories.log_positions(found.log)
    np.testing.assert_array_equal(found.log.items, LOG.items[places])


def test_a_smaller_catalogue_is_numbered_anew_with_its_vectors():
    found = parts_of_logs.with_items(data(), 0.4, seed=1)
    items = found.content["text"][:, 0].astype(int)
    assert found.items == len(items) == 6 and (np.diff(items) > 0).all()
    for user in range(40):
        expected = [[item for item in part if item in items] for part in parts(LOG, user)]
        assert [items[part].tolist() for part in parts(found.log, user)] == expected
    np.testing.assert_array_equal(found.popularity, data().popularity[items])
