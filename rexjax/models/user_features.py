"""User features in a history encoder: their embeddings are added to the vectors of all items of the history."""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from rexjax.data.features.fitted import FeatureArray

TABLES = "user_features"
"""Among the history encoder's parameters, by feature."""


def init_tables(features: Iterable[FeatureArray], width: int) -> dict[str, jax.Array]:
    """Tables of zeros, so that features begin without influence: float32 [C, D] of ids, [D] of a number."""
    shapes = {feature.name: (feature.cardinality, width) if feature.cardinality else (width,) for feature in features}
    return {name: jnp.zeros(shape) for name, shape in shapes.items()}


def embed(tables: Mapping[str, jax.Array], features: Mapping[str, jax.Array] | None) -> jax.Array | float:
    """The sum of the embeddings of the features that are there: float32 [B, L, D], or 0 of none.

    Args:
        tables: what ``init_tables`` began.
        features: by name, ids int32 [B, L], bags int32 [B, L, K], padded with -1, whose mean counts, or numbers
            float32 [B, L]; L may be 1 for all positions alike.
    """
    return sum(_embedded(tables[name], value) for name, value in sorted((features or {}).items()) if name in tables)


def _embedded(table: jax.Array, value: jax.Array) -> jax.Array:
    if table.ndim == 1:
        return value[..., None] * table
    if value.ndim == 2:
        return jnp.take(table, value, axis=0, mode="clip")
    there = (value >= 0)[..., None]
    rows = jnp.where(there, jnp.take(table, jnp.maximum(value, 0), axis=0, mode="clip"), 0)
    return rows.sum(-2) / jnp.maximum(there.sum(-2), 1)
