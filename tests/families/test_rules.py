from itertools import pairwise

import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.families.rules import SequentialRules
from tests.families.small_log import ITEMS, training_histories


def steps_of(items: list[int], times: list[float], by_time: bool) -> list[int]:
    """The step of each event."""
    if not by_time:
        return list(range(len(items)))
    steps = [0]
    for before, after in pairwise(times):
        steps.append(steps[-1] + (before != after))
    return steps


def rule_weights(data, window: int, by_time: bool) -> np.ndarray:
    """w_ab = sum over pairs of events a, b at most ``window`` steps apart of 1 / steps."""
    weights = np.zeros((data.items, data.items))
    for items, times in training_histories(data):
        steps = steps_of(items, times, by_time)
        for i, a in enumerate(items):
            for j, b in enumerate(items):
                if 0 < steps[j] - steps[i] <= window:
                    weights[a, b] += 1 / (steps[j] - steps[i])
    return weights


@pytest.mark.parametrize("recency", ["events", "times"])
@pytest.mark.parametrize("window", [1, 5, 1000])
def test_rules_count_what_follows_by_distance(data, run, window, recency):
    state = SequentialRules(window=window, rules=ITEMS, recency=recency).fit(data, run)
    found = np.zeros((ITEMS, ITEMS + 1))
    np.put_along_axis(found, state["ids"], state["weights"], 1)
    np.testing.assert_allclose(found[:, :ITEMS], rule_weights(data, window, recency == "times"), rtol=1e-5)


def test_the_strongest_rules_are_kept(data, run):
    state = SequentialRules(rules=4).fit(data, run)
    np.testing.assert_allclose(state["weights"], -np.sort(-rule_weights(data, 5, False), 1)[:, :4], rtol=1e-5)


@pytest.mark.parametrize("settings", [{"window": 0}, {"rules": 0}, {"decay": 2.0}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(UserError, match="set "):
        SequentialRules(**settings)
