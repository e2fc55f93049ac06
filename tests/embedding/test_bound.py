"""A table in somebody else's training loop, against the same loop with a whole matrix in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax import make_mesh
from rexjax.embedding import ExactAdam, Feature, LazyAdam, RowWiseAdagrad, Sgd, Table

V, D, B, L, RATE, STEPS = 203, 6, 10, 3, 0.1, 20  # 30 ids, which eight devices do not divide
TARGET = np.random.default_rng(0).normal(size=(B, L, D)).astype(np.float32)


def ids_of(step: int) -> np.ndarray:
    """Skewed ids [B, L] with repeats and padding."""
    rng = np.random.default_rng(step)
    ids = (rng.zipf(1.3, (B, L)) % V).astype(np.int32)
    ids[step % B, 0] = -1
    return ids


def squared_distance(rows: jax.Array, ids: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where((ids >= 0)[..., None], (rows - TARGET) ** 2, 0))


def train(table: Table, devices: int) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Losses, and all rows before and after."""
    bound = table.on(make_mesh(devices))
    state = bound.init(jax.random.key(0))
    first = bound.lookup(state, jnp.arange(V))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, ids, number):
        rows = bound.lookup(state, ids, number)
        loss, gradients = jax.value_and_grad(squared_distance)(rows, ids)
        return bound.update(state, ids, gradients, number, jax.random.key(1)), loss

    losses = []
    for number in range(STEPS):
        state, loss = step(state, ids_of(number), number)
        losses.append(float(loss))
    return losses, np.asarray(first), np.asarray(bound.lookup(state, jnp.arange(V), STEPS))


def train_dense(rule: str, rows: np.ndarray) -> tuple[list[float], np.ndarray]:
    """The slow twin: float64 and a gradient of the whole matrix."""
    rows, squares, losses = rows.astype(np.float64), np.zeros(V), []
    for number in range(STEPS):
        ids = ids_of(number)
        apart = np.where((ids >= 0)[..., None], rows[ids] - TARGET, 0)
        losses.append((apart**2).sum())
        gradient = np.zeros_like(rows)
        np.add.at(gradient, ids[ids >= 0], 2 * apart[ids >= 0])
        if rule == "sgd":
            rows = rows - RATE / 10 * gradient
        else:
            squares += (gradient**2).mean(1)
            rows = rows - RATE * gradient / (np.sqrt(squares) + 1e-8)[:, None]
    return losses, rows


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("rule", ["sgd", "row_wise_adagrad"])
def test_twenty_steps_are_those_of_a_dense_matrix(rule, devices):
    optimizer = Sgd(RATE / 10) if rule == "sgd" else RowWiseAdagrad(RATE)
    losses, first, last = train(Table("items", V, D, stddev=1.0, optimizer=optimizer), devices)
    expected_losses, expected = train_dense(rule, first)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    np.testing.assert_allclose(last, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(last - first).max() > 0.1
    never = ~np.isin(np.arange(V), np.concatenate([ids_of(number).ravel() for number in range(STEPS)]))
    assert never.any()
    np.testing.assert_array_equal(last[never], first[never])


@pytest.mark.parametrize("devices", [1, 8])
def test_padding_looks_up_zeros_and_moves_nothing(devices):
    bound = Table("items", V, D, stddev=1.0, optimizer=Sgd(1.0)).on(make_mesh(devices))
    state, ids = bound.init(jax.random.key(0)), jnp.full((2, 5), -1)
    np.testing.assert_array_equal(bound.lookup(state, ids), np.zeros((2, 5, D)))
    before = np.asarray(state.packed)
    np.testing.assert_array_equal(bound.update(state, ids, jnp.ones((2, 5, D)), 0).packed, before)


@pytest.mark.parametrize("devices", [1, 8])
def test_features_and_bags_move_by_the_gradient_of_what_was_looked_up(devices):
    features = (Feature("target"), Feature("basket", "mean"), Feature("words", "sum"))
    bound = Table("shop", V, D, stddev=1.0, features=features, optimizer=Sgd(1.0)).on(make_mesh(devices))
    rng, state = np.random.default_rng(3), bound.init(jax.random.key(0))
    ids = {
        "target": rng.integers(-1, 20, B),
        "basket": rng.integers(0, 20, (B, L)),
        "words": rng.integers(0, 20, (B, 2)),
    }
    ids = {name: part.astype(np.int32) for name, part in ids.items()}
    weights = {"words": rng.uniform(0.5, 2, (B, 2)).astype(np.float32)}
    rows = np.asarray(bound.lookup(state, jnp.arange(V)))

    found = bound.lookup(state, ids, weights=weights)
    np.testing.assert_allclose(found["basket"], rows[ids["basket"]].mean(1), rtol=1e-5, atol=1e-6)
    weighted = weights["words"][..., None] * rows[ids["words"]]
    np.testing.assert_allclose(found["words"], weighted.sum(1), rtol=1e-5, atol=1e-6)

    gradients = {name: rng.normal(size=(B, D)).astype(np.float32) for name in ids}
    known, dense = ids["target"] >= 0, np.zeros_like(rows)
    np.add.at(dense, ids["target"][known], gradients["target"][known])
    np.add.at(dense, ids["basket"], gradients["basket"][:, None] / L)
    np.add.at(dense, ids["words"], weights["words"][..., None] * gradients["words"][:, None])
    state = bound.update(state, ids, gradients, 0, weights=weights)
    np.testing.assert_allclose(bound.lookup(state, jnp.arange(V)), rows - dense, rtol=1e-5, atol=1e-5)


def test_the_step_makes_up_for_updates_without_the_row():
    bound = Table("items", V, D, optimizer=ExactAdam(RATE)).on(make_mesh(8))
    state, ids, other = bound.init(jax.random.key(0)), jnp.asarray([5]), jnp.asarray([6])
    state = bound.update(state, ids, jnp.ones((1, D)), 0)
    state = bound.update(state, other, jnp.ones((1, D)), 1)
    one, two = bound.lookup(state, ids, 1), bound.lookup(state, ids, 2)
    moments = (0.9 * 0.1 / (1 - 0.9**2)) / np.sqrt(0.999 * 0.001 / (1 - 0.999**2))  # Adam's second move, no gradient
    np.testing.assert_allclose(one - two, np.full((1, D), RATE * moments), rtol=1e-4)


def test_a_bound_table_is_a_static_argument():
    traced = []

    @functools.partial(jax.jit, static_argnums=0)
    def norm(bound, state):
        traced.append(1)
        return jnp.sum(bound.lookup(state, jnp.arange(V)) ** 2)

    table, mesh = Table("items", V, D, optimizer=LazyAdam()), make_mesh(1)
    state = table.on(mesh).init(jax.random.key(0))
    assert norm(table.on(mesh), state) == norm(table.on(mesh), state) > 0
    assert traced == [1]


def test_double_precision_elsewhere_changes_no_row():
    def move() -> jax.Array:
        bound = Table("items", V, D, stddev=1.0, optimizer=ExactAdam(RATE)).on(make_mesh(8))
        ids = jnp.asarray([5, 7, 5])  # int64 in double precision, where gradients are float64
        state = bound.update(bound.init(jax.random.key(0)), ids, jnp.ones((3, D)), 0)
        return bound.lookup(state, ids, 2)

    plain = move()
    with jax.enable_x64(True):
        double = move()
    assert double.dtype == np.float32
    np.testing.assert_allclose(double, plain, rtol=1e-6)
