import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rexjax.embedding.optimizers import OPTIMIZERS, ExactAdam, LazyAdam, Sgd, schedule
from rexjax.errors import UserError

ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
GRADIENTS = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)


def test_lazy_adam_with_decay_is_adamw_when_every_row_is_touched():
    rule, twin = LazyAdam(0.1, weight_decay=0.2), optax.adamw(0.1, weight_decay=0.2)
    rows, slots, expected, state = ROWS, rule.slots(6, 4), jnp.asarray(ROWS), twin.init(ROWS)
    for step in range(4):
        rows, slots = rule.apply(rows, GRADIENTS, slots, jnp.int32(step))
        moves, state = twin.update(GRADIENTS, state, expected)
        expected = expected + moves
    np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-7)


def test_clipping_bounds_each_row_by_itself():
    moved = Sgd(1.0, clip=0.5).apply(np.zeros((6, 4), np.float32), GRADIENTS * np.array([[0.01]] + [[5]] * 5), {}, 0)[0]
    norms = np.linalg.norm(moved, axis=1)
    np.testing.assert_allclose(norms[1:], 0.5, rtol=1e-6)
    np.testing.assert_allclose(moved[0], -0.01 * GRADIENTS[0], rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rates_may_be_schedules(name):
    rule = OPTIMIZERS[name](optax.linear_schedule(0.0, 1.0, 10))
    still, _ = rule.apply(ROWS, GRADIENTS, rule.slots(6, 4), jnp.int32(0))
    moved, _ = rule.apply(ROWS, GRADIENTS, rule.slots(6, 4), jnp.int32(5))
    np.testing.assert_array_equal(still, ROWS)
    assert (moved != ROWS).all()


def test_exact_adam_refuses_weight_decay():
    with pytest.raises(UserError, match="weight decay"):
        ExactAdam(weight_decay=0.1)


@pytest.mark.parametrize(
    "decay, step, expected",
    [
        (0, 0, 0.0),
        (0, 5, 0.5),
        (0, 10**6, 1.0),
        (110, 5, 0.5),
        (110, 10, 1.0),
        (110, 60, 0.51),
        (110, 110, 0.02),
        (110, 999, 0.02),
    ],
)
def test_the_rate_rises_and_falls_as_asked(decay, step, expected):
    assert schedule(1.0, 10, decay)(step) == pytest.approx(expected)
