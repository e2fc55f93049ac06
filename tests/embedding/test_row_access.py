"""Rows taken and put by the C++ loops, by XLA, and by NumPy."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax import native
from rexjax.embedding import row_access

ROWS = np.array([0, 3, 17, 99, 100, 4000], np.int32)  # the last two lie beyond


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("shape", [(100, 64), (100, 3), (100,), (100, 2, 4)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
def test_rows_are_taken_and_put(shape, dtype, loops):
    if loops and not native.available():
        pytest.skip("the package was built without a C++ compiler")
    array = jnp.asarray(np.arange(np.prod(shape)).reshape(shape) % 120, dtype)
    values = -jnp.ones((len(ROWS), *shape[1:]), dtype)
    with contextlib.nullcontext() if loops else native.without():
        taken = row_access.take(array, jnp.asarray(ROWS), "cpu")
        put = row_access.put(array, jnp.asarray(ROWS), values, "cpu")
    expected = np.concatenate([np.asarray(array)[ROWS[:4]], np.zeros((2, *shape[1:]), array.dtype)])
    np.testing.assert_array_equal(np.asarray(taken), expected)
    changed = np.asarray(array).copy()
    changed[ROWS[:4]] = -1
    np.testing.assert_array_equal(np.asarray(put), changed)


def test_a_donated_array_changes_in_place():
    array = jnp.zeros((1000, 64))
    place = array.unsafe_buffer_pointer()
    put = jax.jit(lambda array, rows, values: row_access.put(array, rows, values, "cpu"), donate_argnums=0)
    assert put(array, jnp.asarray(ROWS), jnp.ones((len(ROWS), 64))).unsafe_buffer_pointer() == place
