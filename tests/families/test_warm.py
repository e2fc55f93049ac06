"""Trained models that go on from the state of a shorter log."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from rexjax.families import warm
from rexjax.families.base import Updatable, follow
from rexjax.families.blend import Blend
from rexjax.families.linear import Ease, ItemKNN
from rexjax.families.pooled import Pooled
from rexjax.families.popularity import Popularity
from rexjax.families.transformer import Transformer
from rexjax.families.two_tower import TwoTower
from rexjax.models.scorer import Query
from rexjax.models.served import Served
from rexjax.models.text_map import fit_map, predict
from rexjax.training.settings import Training
from tests.families.small_log import ITEMS, grown, make_run, training_histories

TRAINING = Training(epochs=2, batch=8)
MODELS = {
    "transformer": Transformer(width=8, layers=1, training=TRAINING),
    "pooled": Pooled(width=8, hidden=8, temperature=0.1, training=TRAINING),
    "two towers": TwoTower(width=8, hidden=8, training=TRAINING),
}
CHANGED = (0, 5, 9)


def scores(model, state, items):
    histories = np.array([[-1, 3, 7], [1, 2, 5]], np.int32)
    scorer = model.scorer(state)
    return np.asarray(scorer.score(state, scorer.encode(state, Query(histories)), np.arange(items, dtype=np.int32)))


@pytest.fixture
def new(data):
    return grown(data, CHANGED, more_users=2, more_items=3)


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_model_goes_on_with_new_items(data, new, tmp_path, name):
    model, run = MODELS[name], make_run(tmp_path)
    state = model.fit(data, run)
    assert isinstance(model, Updatable)
    found = follow(model, state, data, new, replace(run, name="later"))
    assert np.asarray(found.items).shape == (ITEMS + 3, 8)
    assert np.isfinite(scores(model, found, ITEMS + 3)).all()
    assert run.summaries["later"]["epochs"] == warm.EPOCHS
    # it moved, and less far than another model lies
    before, after = np.asarray(state.items), np.asarray(found.items)[:ITEMS]
    other = np.asarray(model.fit(data, make_run(tmp_path / "other", seed=9)).items)
    met = data.popularity > 0
    moved, apart = (np.linalg.norm((before - rows)[met]) for rows in (after, other))
    assert 0 < moved < 0.7 * apart


def test_a_log_without_new_events_leaves_a_model_as_it_is(data, tmp_path):
    model, run = MODELS["pooled"], make_run(tmp_path)
    state = model.fit(data, run)
    found = model.update(state, data, data, run)
    met = data.popularity > 0
    np.testing.assert_array_equal(np.asarray(found.items)[met], np.asarray(state.items)[met])


def test_members_of_a_blend_follow_and_weights_stay(data, new, tmp_path):
    model, run = Blend((Ease(l2=5.0), ItemKNN(neighbours=7), Popularity())), make_run(tmp_path)
    state = model.fit(data, run)
    found = model.update(state, data, new, run)
    np.testing.assert_array_equal(found["weights"], state["weights"])
    for number, member in enumerate(model.members):
        expected = member.fit(new, run.member(number))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found["members"][str(number)], expected)


def test_rows_of_new_items_come_from_their_text(data, new):
    rows = np.random.default_rng(0).normal(size=(ITEMS, 4)).astype(np.float32)
    found = np.asarray(warm.start(Served(rows, {}), data, new).items)
    met = data.popularity > 0
    np.testing.assert_array_equal(found[:ITEMS][met], rows[met])
    learners = np.flatnonzero(met)
    learners = learners[np.argsort(-data.popularity[learners], kind="stable")]
    unmet = np.setdiff1d(np.arange(ITEMS + 3), np.flatnonzero(met))
    length = np.linalg.norm(rows[met], axis=1).mean()
    expected = length * predict(fit_map(new.vectors[learners], rows[learners]), new.vectors[unmet])
    np.testing.assert_allclose(found[unmet], expected, rtol=1e-4)


def test_rows_of_new_items_without_text_are_the_mean(data, new):
    rows = np.random.default_rng(0).normal(size=(ITEMS, 4)).astype(np.float32)
    found = np.asarray(warm.start(Served(rows, {}), data, replace(new, content={})).items)
    np.testing.assert_allclose(found[-3:], np.tile(rows[data.popularity > 0].mean(0), (3, 1)), rtol=1e-5)


def test_recent_histories_are_those_that_changed_and_as_many_others(data, new):
    kept = warm.recent(data, new, seed=0)
    changed = [*CHANGED, data.log.users, data.log.users + 1]
    assert kept.log.users == 2 * len(changed) and kept.items == new.items
    np.testing.assert_array_equal(kept.popularity, new.popularity)
    histories = training_histories(kept)
    assert all(training_histories(new)[user] in histories for user in changed)
    assert kept.log.first_event == 0 and len(kept.records) == 1
