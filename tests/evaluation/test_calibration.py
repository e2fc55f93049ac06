import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.evaluation.calibration import expected_calibration_error, of_scorer
from rexjax.evaluation.ranking import Requests, ragged
from rexjax.models.scorer import Scorer

N, U = 12, 4000
RNG = np.random.default_rng(0)


def test_the_error_is_that_of_each_bin():
    confidence = np.repeat([0.1, 0.5, 0.9], 100)
    hit = np.concatenate([np.arange(100) < 20, np.arange(100) < 50, np.arange(100) < 60])
    assert expected_calibration_error(confidence, hit, bins=3) == pytest.approx((0.1 + 0.0 + 0.3) / 3)
    assert expected_calibration_error(confidence[:2], np.asarray([True, True])) == pytest.approx(0.9)


def asked(logits):
    """Users who choose by a softmax of the items' logits; the first item is seen by all."""
    probability = np.exp(logits) * (np.arange(N) > 0)
    targets = [[item] for item in RNG.choice(N, U, p=probability / probability.sum())]
    histories = np.full((U, 3), -1, np.int32)
    histories[:, -1] = 0
    return Requests(histories, *ragged([[0]] * U), *ragged(targets))


def constant(logits):
    def encode(state, query):
        return jnp.zeros((len(query.histories), 1))

    def score(state, encoded, ids):
        return jnp.broadcast_to(state[ids], (len(encoded), len(ids)))

    return Scorer(jnp.asarray(logits, jnp.float32), encode, score, items=N)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_model_that_is_right_is_calibrated_in_any_unit(scale):
    logits = RNG.normal(size=N)
    logits[0] = -20  # seen: neither in the truth nor in what the factor is fitted on
    logits[5] = 2.0
    found = of_scorer(constant(scale * logits), asked(logits), asked(logits))
    assert found.users == 2048 and found.error < 0.04 and abs(found.confidence - found.hits) < 0.04


def test_a_model_that_is_too_sure_is_not():
    flat = np.zeros(N)
    valid, test = asked(np.where(np.arange(N) == 5, 8.0, 0.0)), asked(flat)
    found = of_scorer(constant(np.where(np.arange(N) == 5, 8.0, 0.0)), valid, test)
    assert found.error > 0.8
