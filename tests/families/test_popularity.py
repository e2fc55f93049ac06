import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.families.base import Unsuitable
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


def test_a_log_without_time_is_refused(data, run):
    log = data.log._replace(times=np.zeros(len(data.log.items)))
    with pytest.raises(Unsuitable, match="the same time: choose Popularity"):
        RecentPopularity().fit(make_data(log), run)


def test_no_days_are_refused():
    with pytest.raises(UserError, match="days"):
        RecentPopularity(0.0)
