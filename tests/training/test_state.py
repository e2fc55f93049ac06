import jax
import numpy as np
import optax
import pytest

from rexjax.config import Student, Teacher, Training
from rexjax.mesh import make_mesh
from rexjax.models import recommender
from rexjax.training import state

N, W, L = 30, 4, 6
CONFIG = Training(learning_rate=0.1, warmup=4, weight_decay=0.5)
MODELS = {
    "teacher": recommender.teacher(Teacher(width=8, layers=1, heads=2), L),
    "student": recommender.student(Student(width=4, kernels=2, hidden=6), L),
}


def create(name: str, data: int, model: int, seed: int = 0):
    return state.create(MODELS[name], CONFIG, seed=seed, rows=N, text_width=W, mesh=make_mesh(data, model))


@pytest.mark.parametrize("name, data, model", [("teacher", 8, 1), ("teacher", 4, 2), ("student", 8, 1)])
def test_initial_values_do_not_depend_on_the_mesh(name, data, model):
    one, _ = create(name, 1, 1)
    many, where = create(name, data, model)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), many, one)
    for leaf, sharding in zip(jax.tree.leaves(many), jax.tree.leaves(where), strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
    rows = many.params["rows"]
    assert rows.sharding.shard_shape(rows.shape) == (128 // 8, rows.shape[1])


def test_a_new_state():
    new, _ = create("student", 1, 1)
    other, _ = create("student", 1, 1, seed=1)
    assert new.step == 0 and new.step.dtype == np.int32
    assert {leaf.dtype for leaf in jax.tree.leaves(new.params)} == {np.dtype(np.float32)}
    moments = new.slots[0]
    assert all(not leaf.any() for leaf in jax.tree.leaves((moments.mu, moments.nu)))
    assert np.abs(new.params["rows"] - other.params["rows"]).max() > 1e-3


def test_the_optimizer_is_adamw_after_a_warm_up():
    rule, params, gradients = state.optimizer(CONFIG), {"x": np.ones(2)}, {"x": np.asarray([1.0, -2.0])}
    slots = rule.init(params)
    for number in range(6):
        updates, slots = rule.update(gradients, slots, params)
        rate = 0.1 * min(number / 4, 1)
        expected = -rate * (np.asarray([1.0, -1.0]) + 0.5 * params["x"])  # a constant gradient: Adam sees its sign
        np.testing.assert_allclose(updates["x"], expected, rtol=1e-4, atol=1e-7)
        params = optax.apply_updates(params, updates)
