"""Sharded tables beside tables in one piece."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding import features, optimizers
from rexjax.embedding import table as tables
from rexjax.embedding.bags import Feature
from rexjax.runtime.mesh import make_mesh
from tests.reference import embedding
from tests.twin_cases import case, close, normal


@case("embedding.exchange:dedupe")
def compare_dedupe(fast, twin, rng):
    ids = rng.integers(-1, 12, 30).astype(np.int32)
    found, expected = fast(jnp.asarray(ids), 10), twin(ids, 10)
    assert found.ids[: len(expected)].tolist() == expected
    inside = (ids >= 0) & (ids < 10)
    np.testing.assert_array_equal(np.asarray(found.ids)[found.inverse][inside], ids[inside])


def whole_and_sharded(rng: np.random.Generator, **about: Any):
    """A table of 53 rows in one piece and over eight devices, and ids of a batch."""
    mesh, table = make_mesh(8, 1), tables.Table("items", 53, 4, **about)
    rows = normal(rng, 53, 4)
    return rows, tables.of_rows(jnp.asarray(rows), table, mesh), rng.integers(-1, 53, 32).astype(np.int32), table, mesh


@case("embedding.table:gather")
def compare_gather(fast, twin, rng):
    rows, state, ids, table, mesh = whole_and_sharded(rng)
    routing = tables.route(ids, table, mesh)
    (distinct, _), _ = fast(state, routing, jnp.int32(0), table, mesh)
    close(tables.expand(distinct, routing, mesh), twin(rows, ids))


@case("embedding.row_access:take")
def compare_take_rows(fast, twin, rng):
    array, rows = normal(rng, 50, 6), np.array([1, 7, 49, 50], np.int32)  # the last one lies beyond
    close(fast(jnp.asarray(array), jnp.asarray(rows), "cpu"), twin(array, np.where(rows < 50, rows, -1)))


@case("embedding.row_access:put")
def compare_put_rows(fast, twin, rng):
    array, rows, values = normal(rng, 50, 6), np.array([1, 7, 49, 50], np.int32), normal(rng, 4, 6)
    close(fast(jnp.asarray(array), jnp.asarray(rows), jnp.asarray(values), "cpu"), twin(array, rows, values))


@case("embedding.table:look_up")
def compare_look_up(fast, twin, rng):
    rows, state, ids, table, mesh = whole_and_sharded(rng)
    close(fast(tables.split(state, table).rows, ids, table, mesh), twin(rows, ids))


@case("embedding.table:update")
def compare_update(fast, twin, rng):
    rows, state, ids, table, mesh = whole_and_sharded(rng, optimizer=optimizers.Sgd(0.5))
    routing, gradients = tables.route(ids, table, mesh), normal(rng, len(ids), 4)
    by_distinct = jax.vjp(lambda x: tables.expand(x, routing, mesh), jnp.zeros((len(ids), 4)))[1](gradients)[0]
    state, _ = fast(state, routing, by_distinct, jnp.int32(0), jax.random.key(0), table, mesh)
    moved = embedding.to_logical(np.asarray(tables.split(state, table).rows), 8)[:53]
    close(moved, rows - 0.5 * twin(gradients, ids, 53))


@case("embedding.features:vectors")
def compare_feature_vectors(fast, twin, rng):
    shared = (Feature("target"), Feature("basket", "mean"), Feature("tags", "sqrtn"))
    rows, state, _, table, mesh = whole_and_sharded(rng, features=shared)
    ids = {
        "target": rng.integers(0, 53, 16),
        "basket": rng.integers(-1, 53, (16, 3)),
        "tags": rng.integers(-1, 5, (16, 2)),
    }
    ids = {name: own.astype(np.int32) for name, own in ids.items()}
    weights = {"tags": rng.uniform(0.5, 2, (16, 2)).astype(np.float32)}

    @jax.jit
    def vectors(state):
        routing = features.route(ids, table, mesh)
        (distinct, _), _ = tables.gather(state, routing, jnp.int32(0), table, mesh)
        return fast(distinct, routing, ids, table, mesh, weights)

    close(vectors(state), twin(jnp.asarray(rows), shared, ids, weights))


@case("embedding.bags:combine")
def compare_combine(fast, twin, rng):
    rows, ids, weights = normal(rng, 6, 4, 3), rng.integers(-1, 3, (6, 4)), rng.uniform(0.5, 2, (6, 4))
    for combiner in ("sum", "mean", "sqrtn"):
        close(fast(rows, ids, combiner, weights), twin(rows, ids, combiner, weights))


@case(*(f"embedding.optimizers:{rule.__name__}" for rule in optimizers.OPTIMIZERS.values()))
def compare_row_rule(fast, twin, rng):
    """Four steps, each with gradients of some rows: the rule sees those alone, the twin all."""
    name = next(name for name, rule in optimizers.OPTIMIZERS.items() if rule is fast.function)
    rule, rows = fast(0.1), normal(rng, 6, 4)
    slots = {key: np.array(x) for key, x in rule.slots(6, 4).items()}
    dense, state = jnp.asarray(rows), embedding.initial_slots(name, rows, 0.1)
    apply = jax.jit(rule.apply)
    for step in range(4):
        touched = np.flatnonzero(np.arange(6) % 4 != step)[:4]
        gradients, whole = normal(rng, len(touched), 4), np.zeros((6, 4), np.float32)
        new, changed = apply(rows[touched], gradients, {key: x[touched] for key, x in slots.items()}, step)
        rows[touched], whole[touched] = new, gradients
        for key, values in changed.items():
            slots[key][touched] = values
        dense, state = twin(dense, state, whole, np.isin(np.arange(6), touched)[:, None], 0.1)
    close(jax.jit(rule.current)(rows, slots, jnp.int32(4)), dense)


@case("embedding.order:to_physical", "embedding.order:to_logical")
def compare_order(fast, twin, rng):
    rows = normal(rng, 24, 2)
    close(fast(jnp.asarray(rows), make_mesh(8, 1)), twin(rows, 8))


@case("embedding.rounding:stochastic_bfloat16")
def compare_rounding(fast, twin, rng):
    x = normal(rng, 1, 6)
    low, high, away = twin(x)
    found = np.asarray(jax.jit(fast)(np.repeat(x, 4000, 0), jax.random.key(0), np.arange(4000)), np.float64)
    assert ((found == low) | (found == high)).all()
    np.testing.assert_allclose((found == high).mean(0), away[0], atol=5 * 0.5 / np.sqrt(4000))
