from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.config import ItemKNN, Student, Training, TwoTower
from rexjax.distillation.teach import distill
from rexjax.errors import UserError
from rexjax.families.base import FineTuning, SoftTargets, fit
from rexjax.models.scorer import Query
from rexjax.training.objectives import Lists
from tests.families.small_log import ITEMS, LENGTH, make_run

MODEL = TwoTower(width=8, hidden=8, training=Training(epochs=1, batch=8))
ALL = np.arange(ITEMS)


@pytest.fixture(scope="module")
def student(data, tmp_path_factory):
    """Taught by a model that counts."""
    run, teacher = make_run(tmp_path_factory.mktemp("distill")), ItemKNN(neighbours=7)
    scorer = teacher.scorer(fit(teacher, data, run))
    return distill(scorer, Student(model=MODEL, top_k=5), data, run)


def scores(model, state):
    scorer, histories = model.scorer(state), np.random.default_rng(0).integers(-1, ITEMS, (32, LENGTH))
    return np.asarray(scorer.score(scorer.state, scorer.encode(scorer.state, Query(jnp.asarray(histories))), ALL))


def test_scores_are_cosines_with_the_item_vectors_of_a_student(student):
    found, rows = scores(MODEL, student), np.asarray(MODEL.scorer(student).vectors(student))
    assert rows.shape == (ITEMS, 8) and found.std() > 0.01 and np.abs(found).max() < 1 + 1e-5
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_vectors_that_are_rotated_or_ordered_answer_alike(student):
    expected = scores(MODEL, student)
    np.testing.assert_allclose(scores(MODEL, MODEL.rotate(student)), expected, rtol=0, atol=1e-5)
    assert MODEL.narrow(student, 8) == (MODEL, student)
    model, state = MODEL.narrow(student, 6)
    assert model == replace(MODEL, width=6) and state.items.shape == (ITEMS, 6)
    assert np.corrcoef(scores(model, state).ravel(), expected.ravel())[0, 1] > 0.7


def test_fine_tuning_goes_on_from_whole_vectors(student, data, tmp_path):
    """With a step size of zero nothing moves: what was folded does not pass the item tower again."""
    still = replace(MODEL, training=Training(epochs=1, batch=8, learning_rate=1e-12))
    tuned = still.distill(data, SoftTargets(lists_of_labels), make_run(tmp_path), FineTuning(student))
    np.testing.assert_allclose(scores(still, tuned), scores(MODEL, student), rtol=0, atol=1e-5)


def lists_of_labels(labels, epochs, scored):
    """Soft targets that say what the labels say."""

    def epoch(number, first):
        for batch in labels(number, first):
            shape = (*batch.labels.shape, 1)
            yield batch, Lists(np.maximum(batch.labels, 0).reshape(shape), np.zeros(shape, np.float32))

    return epoch


def test_more_negatives_than_items_are_refused_where_items_are_drawn(data, tmp_path):
    with pytest.raises(UserError, match="bpr draws 512 negatives from a catalogue of 40 items"):
        replace(MODEL, loss="bpr").fit(data, make_run(tmp_path))
