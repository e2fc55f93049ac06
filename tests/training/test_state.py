import jax
import numpy as np
import optax
import pytest

from rexjax.config import Pooled, Training, Transformer
from rexjax.embedding import order
from rexjax.runtime.mesh import make_mesh
from rexjax.training import state

N, W, L = 30, 4, 6
CONFIG = Training(learning_rate=0.1, warmup=4, weight_decay=0.5)
MODELS = {
    "teacher": Transformer(width=8, layers=1, heads=2).recommender(L),
    "student": Pooled(width=4, profiles=2, hidden=6).recommender(L),
}


def create(name: str, data: int, model: int, seed: int = 0):
    mesh, table = make_mesh(data, model), state.item_table(MODELS[name], N, CONFIG, sparse=True)
    made = state.create(MODELS[name], CONFIG, table, seed=seed, text_width=W, mesh=mesh)
    return made, state.abstract(MODELS[name], CONFIG, table, text_width=W, mesh=mesh), mesh


@pytest.mark.parametrize("name, data, model", [("teacher", 8, 1), ("teacher", 4, 2), ("student", 8, 1)])
def test_initial_values_do_not_depend_on_the_mesh(name, data, model):
    one, _, alone = create(name, 1, 1)
    many, shapes, mesh = create(name, data, model)
    for leaf, shape in zip(jax.tree.leaves(many), jax.tree.leaves(shapes), strict=True):
        assert leaf.sharding.is_equivalent_to(shape.sharding, leaf.ndim)
        assert (leaf.shape, leaf.dtype) == (shape.shape, shape.dtype)
    rows = many.table.packed
    assert rows.sharding.shard_shape(rows.shape) == (-(-N // 8), rows.shape[1])

    def logical(made, mesh):
        return np.asarray(order.to_logical(made.table.packed, mesh))[:N]

    np.testing.assert_array_equal(logical(many, mesh), logical(one, alone))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), many.params, one.params)


def test_a_new_state():
    new, _, _ = create("student", 1, 1)
    other, _, _ = create("student", 1, 1, seed=1)
    assert new.step == 0 and new.step.dtype == np.int32
    assert {leaf.dtype for leaf in jax.tree.leaves(new.params)} == {np.dtype(np.float32)}
    moments = new.slots[0]
    assert all(not leaf.any() for leaf in jax.tree.leaves((moments.mu, moments.nu)))
    assert np.abs(new.table.packed - other.table.packed).max() > 1e-3


def test_the_optimizer_is_adamw_after_a_warm_up():
    rule, params, gradients = state.optimizer(CONFIG), {"x": np.ones(2)}, {"x": np.asarray([1.0, -2.0])}
    slots = rule.init(params)
    for number in range(6):
        updates, slots = rule.update(gradients, slots, params)
        rate = 0.1 * min(number / 4, 1)
        expected = -rate * (np.asarray([1.0, -1.0]) + 0.5 * params["x"])  # a constant gradient: Adam sees its sign
        np.testing.assert_allclose(updates["x"], expected, rtol=1e-4, atol=1e-7)
        params = optax.apply_updates(params, updates)


@pytest.mark.parametrize("data, model", [(1, 1), (4, 2)])
def test_a_state_begins_at_given_parameters_and_leaves_them_to_the_caller(data, model):
    first, _, mesh = create("student", data, model)
    table, rng = state.item_table(MODELS["student"], N, CONFIG, sparse=True), np.random.default_rng(0)
    given = {"rows": rng.normal(size=(N, 4)).astype(np.float32)} | jax.tree.map(lambda x: x + 1, first.params)
    begun = state.with_params(first, given, table, mesh)
    found = state.whole(begun, table, mesh)
    np.testing.assert_array_equal(found["rows"][:N], given["rows"])
    assert not np.asarray(found["rows"][N:]).any()
    jax.tree.map(np.testing.assert_array_equal, begun.params, {name: given[name] for name in first.params})
    jax.tree.map(lambda new, old: new.sharding == old.sharding or pytest.fail("moved"), begun.params, first.params)
    jax.jit(lambda x: jax.tree.map(lambda leaf: leaf + 1, x), donate_argnums=0)(begun.params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(given))
    rows_alone = state.with_params(first, {"rows": given["rows"]}, table, mesh)
    jax.tree.map(np.testing.assert_array_equal, rows_alone.params, first.params)
    np.testing.assert_array_equal(state.whole(rows_alone, table, mesh)["rows"][:N], given["rows"])
