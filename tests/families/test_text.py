from dataclasses import replace

import jax
import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.families.base import Unsuitable
from rexjax.families.text import TextCosine
from rexjax.families.text_knn import TextKNN
from rexjax.models.scorer import Query
from tests.families.small_log import ITEMS, LENGTH


@jax.jit
def answer(scorer, query):
    return scorer.score(scorer.state, scorer.encode(scorer.state, query), np.arange(ITEMS))


@pytest.fixture(scope="module")
def query():
    rng = np.random.default_rng(3)
    histories = rng.integers(0, ITEMS, (20, LENGTH)).astype(np.int32)
    histories[np.arange(LENGTH) < rng.integers(0, LENGTH + 1, (20, 1))] = -1
    return Query(histories, np.sort(rng.integers(0, 6, (20, LENGTH + 1)), 1).astype(np.int32))


@pytest.mark.parametrize("recency", ["events", "times"])
@pytest.mark.parametrize("events", [1, 3, 100])
def test_scores_are_weighted_means_of_cosines(data, run, query, events, recency):
    model = TextKNN(events=events, decay=0.6, recency=recency)
    text = np.asarray(data.content["text"], np.float64)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    expected = np.zeros((20, ITEMS))
    for user, (history, times) in enumerate(zip(query.histories, query.times, strict=True)):
        known = [(item, time) for item, time in zip(history, times[:-1], strict=True) if item >= 0][-events:]
        weights = {}
        for place, (item, time) in enumerate(known):
            later = len({t for _, t in known if t > time}) if recency == "times" else len(known) - 1 - place
            weights[item] = 0.6**later  # the latest event overwrites those before it
        for item, weight in weights.items():
            expected[user] += weight / sum(weights.values()) * (text @ text[item])
    np.testing.assert_allclose(answer(model.scorer(model.fit(data, run)), query), expected, atol=1e-5)


def test_text_cosine_is_the_case_of_one_event(data, run, query):
    one, knn = TextCosine(), TextKNN(events=1)
    scores = [np.asarray(answer(model.scorer(model.fit(data, run)), query)) for model in (one, knn)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("model", [TextCosine(), TextKNN()], ids=str)
def test_items_without_text_are_refused(data, run, model):
    with pytest.raises(Unsuitable, match=f"is {type(model).__name__}, and the items have no text"):
        model.fit(replace(data, content={}), run)


def test_no_events_are_refused():
    with pytest.raises(UserError, match="set events"):
        TextKNN(events=0)
