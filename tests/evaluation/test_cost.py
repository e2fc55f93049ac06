import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.evaluation import cost


def shape(*size: int, dtype=jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(size, dtype)


@pytest.mark.parametrize("wrap", [lambda fn: fn, jax.jit])
@pytest.mark.parametrize("b, d, n", [(1, 64, 1000), (32, 16, 500)])
def test_product_costs_two_operations_per_weight(wrap, b, d, n):
    found = cost.compiled_cost(wrap(lambda u, v: u @ v), shape(b, d), shape(d, n))
    assert found["flops"] == pytest.approx(2 * b * d * n, rel=0.01)
    assert found["bytes_accessed"] == pytest.approx(4 * (b * d + d * n + b * n), rel=0.1)


def test_copying_costs_no_operation():
    assert cost.compiled_cost(lambda x: x, shape(8))["flops"] == 0


@pytest.mark.parametrize("analysis", [None, [], [{"flops": 6.0}], {"flops": 6.0, "bytes accessed": -1.0}])
def test_reads_what_every_version_returns(analysis):
    class Stage:
        def lower(self, *shapes):
            return self

        compile = lower

        def cost_analysis(self):
            return analysis

    assert cost.compiled_cost(Stage()) == {"flops": 6.0 if analysis else 0.0, "bytes_accessed": 0.0}


def test_functions_take_turns_and_making_arguments_is_not_timed():
    asked = []

    def make_args(name, number):
        asked.append((name, number))
        time.sleep(0.02)
        return (jnp.full(8, number),)

    @jax.jit
    def fn(x):
        return x * 2

    found = cost.interleaved({name: (fn, partial(make_args, name)) for name in "ab"}, 3)
    assert asked == [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert all(times.shape == (3,) and 0 < np.median(times) < 0.02 for times in found.values())


def test_intervals_of_quantiles_hold_the_quantile():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        _, low, high = cost.quantile(rng.exponential(size=101), 0.5)
        inside += low <= 1e3 * np.log(2) <= high
    assert 0.93 < inside / 400 < 0.99


@pytest.mark.parametrize(
    "tree, size, parameters",
    [
        ({}, 0, 0),
        ({"a": shape(3, 4), "b": shape(5, dtype=jnp.bfloat16)}, 48 + 10, 17),
        ([shape(3, dtype=jnp.int8), shape(3, dtype=jnp.int4)], 3 + 2, 6),
        ((np.zeros(3, bool), np.zeros((), np.float64)), 3 + 8, 4),
        (jnp.zeros((2, 2), jnp.uint8), 4, 4),
    ],
)
def test_size_of_trees(tree, size, parameters):
    assert cost.tree_bytes(tree) == size
    assert cost.tree_parameters(tree) == parameters
