from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.distillation.calibration import logit_scale
from rexjax.models.scorer import score_matrix

U, N = 1500, 20


@pytest.mark.parametrize("scale", [0.25, 1.0, 8.0, 64.0])
def test_the_scale_by_which_items_were_chosen_is_recovered(scale):
    """Scores that are logits divided by a known number; the grid's steps are 2^(1/4)."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(U, N))
    weights = np.exp(logits)
    targets = (weights / weights.sum(1, keepdims=True)).cumsum(1) > rng.random((U, 1))
    asked = np.arange(U, dtype=np.int32)[:, None], np.zeros((U, 2), np.int32), targets.argmax(1).astype(np.int32)
    found = logit_scale(score_matrix(jnp.asarray(logits / scale, jnp.float32)), *asked)
    assert scale / 2**0.26 <= found <= scale * 2**0.26


def test_a_model_that_was_trained_by_a_softmax_says_its_scale():
    scorer = replace(score_matrix(jnp.zeros((1, N))), scale=12.5)
    nobody = np.zeros((0, 1), np.int32), np.zeros((0, 2), np.int32), np.zeros(0, np.int32)
    assert logit_scale(scorer, *nobody) == 12.5
