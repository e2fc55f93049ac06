"""Towers over the rows and the columns of a rating matrix (Xue et al. 2017)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.models.layers import normalize
from rexjax.models.pair_networks import ReluLayers


class Ratings(NamedTuple):
    """A sparse matrix [U, N] of E entries, sorted by user."""

    users: jax.Array
    """int32 [E]."""
    items: jax.Array
    """int32 [E]."""
    values: jax.Array
    """float32 [E]."""


def tower(
    layers: ReluLayers, params: Any, rows: jax.Array, columns: jax.Array, values: jax.Array, count: int
) -> jax.Array:
    """Unit vectors float32 [count, D] of the rows of a sparse matrix: ``relu(W_n … relu(W_2 W_1 y + b_2) … + b_n)``.

    The first layer has no bias. It costs O(E H) for E entries, as the sum of the kernel's rows that a row names.

    Args:
        layers: those above the first.
        params: "kernel" float32 [columns, H] and "layers".
        rows: int32 [E].
        columns: int32 [E].
        values: float32 [E].
        count: rows of the matrix.
    """
    parts = values[:, None] * params["kernel"][columns]
    first = jax.ops.segment_sum(parts, rows, count)
    return normalize(layers.apply({"params": params["layers"]}, first))


def normalized_cross_entropy(cosines: jax.Array, values: jax.Array, floor: float) -> jax.Array:
    """``-y log ŷ - (1 - y) log(1 - ŷ)`` of ratings y [...] over the largest one; ŷ is the cosine, or the floor."""
    predicted = jnp.clip(cosines, floor, 1 - floor)
    return -values * jnp.log(predicted) - (1 - values) * jnp.log1p(-predicted)
