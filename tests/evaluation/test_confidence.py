from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.evaluation import confidence
from rexjax.evaluation.ranking import Requests, ragged
from rexjax.models.scorer import score_matrix

RNG = np.random.default_rng(0)
U, N = 3000, 8
LOGITS = RNG.normal(0, 1.5, (U, N)).astype(np.float32)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
CHOSEN = [[int(RNG.choice(N, p=row / row.sum()))] for row in P.astype(float)]
ASKED = Requests(np.arange(U, dtype=np.int32)[:, None], *ragged([[]] * U), *ragged(CHOSEN))


def found_of(scale, logits=LOGITS):
    return confidence.calibration_of(
        replace(score_matrix(jnp.asarray(logits)), scale=scale), {"valid": ASKED, "test": ASKED}
    )


def test_the_softmax_that_choices_are_drawn_from_is_calibrated_and_one_twice_as_sharp_is_not():
    right, sharp = found_of(1.0), found_of(2.0)
    assert right["map"] == sharp["map"] == "softmax" and right["users"] == U
    assert right["confidence"] == pytest.approx(P.max(1).mean(), rel=1e-5)
    assert right["hit_rate@1"] == np.mean([P[user].argmax() == item for user, (item,) in enumerate(CHOSEN)])
    assert right["ece"] < 0.03 < 0.15 < sharp["ece"]


def test_scores_that_are_no_logits_are_mapped_by_a_monotone_function():
    plain, squashed = found_of(None), found_of(None, np.tanh(LOGITS))
    assert plain["map"] == squashed["map"] == "isotonic"
    assert plain["ece"] < 0.02
    assert plain["ece"] == pytest.approx(squashed["ece"])  # by order alone


def test_neither_map_where_nothing_can_be_recommended_or_learnt():
    nothing = Requests(ASKED.histories[:2], *ragged([range(N)] * 2), *ragged([[0], [1]]))
    scorer = score_matrix(jnp.asarray(LOGITS))
    assert confidence.calibration_of(scorer, {"valid": ASKED, "test": nothing}) == {
        "map": "none",
        "hit_rate@1": 0.0,
        "users": 2,
    }
    one = Requests(ASKED.histories[:1], *ragged([[]]), *ragged([[0]]))
    assert confidence.calibration_of(scorer, {"valid": one, "test": ASKED})["map"] == "none"


def test_chunks_of_the_catalogue_change_nothing(monkeypatch):
    asked = Requests(ASKED.histories[:50], *ragged([[user % N] for user in range(50)]), *ragged(CHOSEN[:50]))
    scorer = replace(score_matrix(jnp.asarray(LOGITS)), scale=1.0)
    whole = confidence.first_items(scorer, asked)
    monkeypatch.setattr(confidence, "SCORES_AT_ONCE", 64 * 3)
    jax.clear_caches()
    for found, expected in zip(confidence.first_items(scorer, asked), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    by_hand = np.where(np.arange(N) == np.arange(50)[:, None] % N, -np.inf, LOGITS[:50])
    np.testing.assert_allclose(whole.scores, by_hand.max(1), rtol=1e-6)
    np.testing.assert_allclose(whole.probabilities, np.exp(by_hand.max(1)) / np.exp(by_hand).sum(1), rtol=1e-5)


def test_more_bins_than_users_are_one_for_each():
    assert confidence.expected_calibration_error(np.array([0.2, 0.7]), np.array([0, 1]), 15) == pytest.approx(0.25)
