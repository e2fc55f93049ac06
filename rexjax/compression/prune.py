"""Magnitude pruning: the smallest weights become zero (Han et al. 2015)."""

from typing import Any

import jax
import jax.numpy as jnp

from rexjax.errors import UserError


def magnitude_prune(tree: Any, sparsity: float) -> Any:
    """Sets to zero, in every matrix of ``tree``, the share ``sparsity`` of its entries with the smallest magnitude.

    Vectors (biases, norms, recency profiles of one kernel) are left alone: they are small and each entry matters.
    """
    if not 0 <= sparsity < 1:
        raise UserError(f"--compress.sparsity must be at least 0 and below 1, not {sparsity}")
    return jax.tree.map(lambda leaf: _prune(leaf, sparsity) if jnp.ndim(leaf) >= 2 else leaf, tree)


def _prune(weights: jax.Array, sparsity: float) -> jax.Array:
    dropped = int(sparsity * weights.size)
    order = jnp.argsort(jnp.abs(weights).ravel(), stable=True)
    kept = jnp.ones(weights.size, bool).at[order[:dropped]].set(False, mode="drop")
    return weights * kept.reshape(weights.shape)
