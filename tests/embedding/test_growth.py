"""A table that grew is the table that was large from the start."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding import growth
from rexjax.embedding import table as tables
from rexjax.embedding.optimizers import OPTIMIZERS, Adagrad
from rexjax.embedding.table import Table
from rexjax.errors import UserError
from rexjax.runtime.mesh import make_mesh

KEY = jax.random.key(5)


def trained(bound, state, below: int, steps=(0, 1, 2)):
    """After some updates of ids below a bound, each with gradients that follow from the ids."""
    for step in steps:
        ids = jnp.asarray(np.random.default_rng(step).integers(-1, below, 24), jnp.int32)
        gradients = jnp.cos(ids[:, None] + jnp.arange(bound.table.width) + step)
        state = bound.update(state, ids, gradients, step, KEY)
    return state


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("rows, more", [(3, 30), (16, 17), (17, 17), (21, 64), (21, 23)])
def test_a_grown_table_is_one_made_large(devices, rows, more):
    small = Table("items", rows, 4).on(make_mesh(devices))
    state = trained(small, small.init(KEY), rows)
    large = replace(small.table, rows=more).on(small.mesh)
    bound, found = small.grow(state, more, KEY)
    assert bound == large
    assert_equal(found, trained(large, large.init(KEY), rows))
    assert_equal(trained(bound, found, more, (3, 4, 5)), trained(large, found, more, (3, 4, 5)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_of_every_optimizer_are_kept(name, sparse, dtype):
    rule = Adagrad(0.1, initial=0.3) if name == "adagrad" else OPTIMIZERS[name](0.1)
    small = Table("items", 13, 4, dtype, optimizer=rule, sparse=sparse)
    large, mesh = replace(small, rows=22), make_mesh(8)
    before, after = (tables.create(table, KEY, mesh) for table in (small, large))
    if sparse:
        before, after = (trained(t.on(mesh), state, 13) for t, state in ((small, before), (large, after)))
    found = growth.grow(before, small, 22, KEY, mesh)
    assert_equal(found, after)
    for leaf, where in zip(jax.tree.leaves(found), jax.tree.leaves(tables.shardings(large, mesh)), strict=True):
        assert leaf.sharding.is_equivalent_to(where, leaf.ndim)


def test_a_table_does_not_shrink():
    small = Table("items", 13, 4).on(make_mesh(1))
    with pytest.raises(UserError, match="'items' has 13 rows and is to have 12: a table only grows"):
        small.grow(small.init(KEY), 12, KEY)


def test_a_state_of_another_table_is_refused():
    small = Table("items", 13, 4).on(make_mesh(1))
    other = Table("items", 14, 4).on(make_mesh(1))
    with pytest.raises(ValueError, match="state"):
        small.grow(other.init(KEY), 20, KEY)


def test_no_row_travels():
    """The compiled growth has no collective."""
    small, mesh = Table("items", 100, 4), make_mesh(8)
    state = tables.create(small, KEY, mesh)
    compiled = jax.jit(lambda s, k: growth.grow(s, small, 150, k, mesh)).lower(state, KEY).compile().as_text()
    assert not any(word in compiled for word in ("all-to-all", "all-gather", "all-reduce", "collective-permute"))
