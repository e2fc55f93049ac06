import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.families.base import Unsuitable
from rexjax.families.decayed import DecayedPopularity
from rexjax.families.popularity import RecentPopularity
from tests.families.small_log import ITEMS, make_data, training_histories


@pytest.mark.parametrize("days", [0.5, 3.0, 1e6])
def test_training_events_of_the_latest_days_are_counted(data, run, days):
    end = max(max(times) for _, times in training_histories(data) if times)
    counts = np.zeros(ITEMS)
    for items, times in training_histories(data):
        for item, time in zip(items, times, strict=True):
            counts[item] += time > end - days * 24 * 60 * 60
    found = RecentPopularity(days).fit(data, run)["scores"]
    np.testing.assert_array_equal(found[:, 0], counts)
    assert days < 1e6 or (counts == data.popularity).all()


@pytest.mark.parametrize("model", [RecentPopularity(), DecayedPopularity()], ids=str)
def test_a_log_without_time_is_refused(data, run, model):
    log = data.log._replace(times=np.zeros(len(data.log.items)))
    with pytest.raises(Unsuitable, match=f"is {type(model).__name__}, .* the same time: choose Popularity"):
        model.fit(make_data(log), run)


def test_no_days_are_refused():
    with pytest.raises(UserError, match="days"):
        RecentPopularity(0.0)


@pytest.mark.parametrize("half_life", [0.5, 3.0, 1e9])
def test_training_events_fade(data, run, half_life):
    end = max(max(times) for _, times in training_histories(data) if times)
    scores = np.zeros(ITEMS)
    for items, times in training_histories(data):
        for item, time in zip(items, times, strict=True):
            scores[item] += 0.5 ** ((end - time) / (half_life * 24 * 60 * 60))
    found = DecayedPopularity(half_life).fit(data, run)["scores"]
    np.testing.assert_allclose(found[:, 0], scores, rtol=1e-6)
    assert half_life < 1e9 or np.allclose(scores, data.popularity)


def test_no_half_life_is_refused():
    with pytest.raises(UserError, match="half_life above 0"):
        DecayedPopularity(0.0)
