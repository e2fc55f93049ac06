"""Rows of a table's arrays, read and written by their numbers. Nearly every row is a cache miss on a CPU."""

import jax
import jax.numpy as jnp

from rexjax import native

_LINE = 64
"""Bytes of a CPU's cache line."""


def take(x: jax.Array, rows: jax.Array, platform: str) -> jax.Array:
    """Rows int32 [Q] of x [R, …]; rows beyond R are padding and give zeros (never the default clamp, jax#9839)."""
    if platform != "cpu":
        return x.at[rows].get(mode="fill", fill_value=0)
    if native.available():
        found = jax.ShapeDtypeStruct((len(rows), *x.shape[1:]), x.dtype)
        return jax.ffi.ffi_call("rexjax_take_rows", found)(x, rows)
    return _take_by_lines(x, rows)


def put(x: jax.Array, rows: jax.Array, values: jax.Array, platform: str) -> jax.Array:
    """x [R, …] with ``values`` [Q, …] in the rows int32 [Q], sorted and distinct; those beyond R are dropped.

    It changes in place where x is donated.
    """
    if platform == "cpu" and native.available():
        same = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.ffi.ffi_call("rexjax_put_rows", same, input_output_aliases={0: 0})(x, rows, values)
    return x.at[rows].set(values, mode="drop", unique_indices=True, indices_are_sorted=True)


def _take_by_lines(x: jax.Array, rows: jax.Array) -> jax.Array:
    """XLA copies number after number, and looks ahead a few rows only: short rows are taken a cache line of all of them
    at a time, so that more misses are under way at once. Longer ones gain nothing by it.
    """
    if x.ndim != 2 or x.shape[1] * x.dtype.itemsize > 4 * _LINE:
        return x.at[rows].get(mode="fill", fill_value=0)
    inside, step = jnp.minimum(rows, len(x) - 1), _LINE // x.dtype.itemsize
    columns = [x[:, place : place + step] for place in range(0, x.shape[1], step)]
    found = jnp.concatenate([part.at[inside].get(mode="promise_in_bounds") for part in columns], 1)
    return jnp.where((rows < len(x))[:, None], found, 0)
