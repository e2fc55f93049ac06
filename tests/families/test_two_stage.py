from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.data import batches
from rexjax.errors import UserError
from rexjax.families.linear import Ease, ItemKNN
from rexjax.families.rankers import DCNv2
from rexjax.families.two_stage import TwoStage, hold_back
from rexjax.models.candidates import describe
from rexjax.models.scorer import USER, Query
from rexjax.training.labelled import LabelledTraining
from tests.families.small_log import ITEMS, LENGTH, make_run

TRAINING = LabelledTraining(epochs=2, batch=16, patience=0)
MODEL = TwoStage(
    Ease(l2=5.0),
    signals=(ItemKNN(neighbours=7),),
    ranker=DCNv2(width=4, hidden=(8,), training=TRAINING),
    k1=9,
    negatives=5,
)
ALL = np.arange(ITEMS)


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("fit"))
    return MODEL.fit(data, run), run


def requests(data) -> Query:
    users = np.flatnonzero(data.log.valid_start - data.log.offsets[:-1] > 2)[:6]
    histories = batches.latest(data.log, users, data.log.valid_start[users], LENGTH)
    times = batches.latest_times(data.log, users, data.log.valid_start[users], LENGTH)
    return Query(jnp.asarray(histories), jnp.asarray(times), {USER: jnp.asarray(users.astype(np.int32))})


def test_retrieved_items_stand_above_all_others_which_keep_their_order(data, fitted):
    state, _ = fitted
    query, scorer = requests(data), MODEL.scorer(state)
    scores = np.asarray(scorer.score(state, scorer.encode(state, query), ALL))
    first = MODEL.retrieve.scorer(state["members"]["0"])
    base = np.asarray(first.score(first.state, first.encode(first.state, query), ALL))
    for own, retrieved, history in zip(scores, base, np.asarray(query.histories), strict=True):
        unseen = np.setdiff1d(ALL, history)
        kept = unseen[np.argsort(-retrieved[unseen], kind="stable")][: MODEL.k1]
        rest = np.setdiff1d(ALL, kept)
        assert own[kept].min() > own[rest].max()
        assert (np.diff(own[rest[np.argsort(-retrieved[rest], kind="stable")]]) <= 1e-5).all()


def test_the_ranker_learns_from_events_that_the_first_stage_of_its_lists_has_not_met(data, fitted):
    early = hold_back(data, 0.2)
    counts = data.log.valid_start - data.log.offsets[:-1]
    held = data.log.valid_start - early.log.valid_start
    assert (held[counts >= 2] == np.ceil(0.2 * counts[counts >= 2])).all() and not held[counts < 2].any()
    assert early.popularity.sum() == (counts - held).sum()
    assert fitted[1].summaries["model ranker"]["lists"] > 20


def test_features_of_a_candidate_by_hand():
    query = Query(jnp.asarray([[-1, 3, 5, 3]]), jnp.asarray([[0, 1, 2, 4, 10]]), {USER: jnp.asarray([7])})
    scores, ranks = jnp.ones((1, 2, 1)), jnp.asarray([[0, 1]])
    found = describe(query, jnp.asarray([[3, 4]]), scores, ranks, jnp.arange(6.0), last=2)
    expected = {
        "user": [8, 8],
        "item": [4, 5],
        "last_items": [[6, 4], [6, 4]],
        "score_0": [1, 1],
        "rank": np.log1p([0, 1]),
        "popularity": [3, 4],
        "count": np.log1p([2, 0]),
        "recency": [1, 0],
        "length": np.log1p([3, 3]),
        "gap": np.log1p([6, 6]),
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)


def test_bad_settings_get_one_sentence(data, tmp_path):
    with pytest.raises(UserError, match="k1=5 and negatives=5: set negatives to 4 or less"):
        replace(MODEL, k1=5)
    with pytest.raises(UserError, match="k1=41, and the log has 40 items: lower k1"):
        replace(MODEL, k1=41).fit(data, make_run(tmp_path))
