import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding.quantized import quantize_rows
from rexjax.families.unmet import FACTORS, calibrated, factor_of, scaled
from rexjax.models import pooled_axes
from rexjax.models.served import Served

STATE = Served(jnp.eye(3, dtype=jnp.float32), {})
UNMET = np.array([False, True, False])


def lengths(state):
    return np.linalg.norm(state.items, axis=1)


@pytest.mark.parametrize("best", FACTORS)
def test_the_length_that_is_best_on_validation_is_kept(best):
    state, metrics = calibrated(STATE, UNMET, lambda s: {"ndcg@10": -abs(float(lengths(s)[1]) - best)}, "ndcg@10")
    np.testing.assert_allclose(lengths(state), [1, best, 1], rtol=1e-6)
    assert metrics["ndcg@10"] == pytest.approx(0, abs=1e-6)


def test_of_equal_lengths_the_whole_one_is_kept():
    state, _ = calibrated(STATE, UNMET, lambda s: {"ndcg@10": 0.5}, "ndcg@10")
    np.testing.assert_array_equal(state.items, STATE.items)


def test_a_log_without_unmet_items_is_validated_once():
    calls = []
    state, _ = calibrated(STATE, np.zeros(3, bool), lambda s: calls.append(s) or {"ndcg@10": 0.5}, "ndcg@10")
    assert len(calls) == 1 and state is STATE


def test_fewer_dimensions_keep_the_lengths():
    rng = np.random.default_rng(0)
    history = {
        "up": {"kernel": jnp.ones((8, 2)), "bias": jnp.ones(2)},
        "down": {"kernel": jnp.ones((2, 4)), "bias": jnp.ones(4)},
    }
    rows = rng.normal(size=(5, 4)).astype(np.float32)
    whole = Served(jnp.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True)), history)
    short = scaled(whole, np.array([False, False, True, False, False]), 0.5)
    np.testing.assert_allclose(lengths(pooled_axes.narrow(short, 2)), [1, 1, 0.5, 1, 1], rtol=1e-5)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("bits", [32, 8, 4])
def test_the_factor_is_found_from_the_rows(factor, bits):
    rows = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    unmet = np.arange(40) % 3 == 0
    served = Served(jnp.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True)), {})
    items = scaled(served, unmet, factor).items
    assert factor_of(items if bits == 32 else quantize_rows(items, bits), unmet) == factor


@pytest.mark.parametrize("length, unmet", [(1.0, [False] * 3), (0.0, [False, True, True]), (2.0, [True, True, False])])
def test_lengths_that_do_not_tell_are_no_factor(length, unmet):
    assert factor_of(length * STATE.items, np.asarray(unmet)) == 1.0
