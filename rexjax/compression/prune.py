"""Pruning: weights by magnitude, and whole dimensions of the vectors by what they add."""

from typing import Any

import jax
import jax.numpy as jnp

from rexjax.errors import UserError
from rexjax.models.layers import normalize
from rexjax.models.recommender import Served


def magnitude_prune(tree: Any, sparsity: float) -> Any:
    """Sets to zero, in every matrix of ``tree``, the share ``sparsity`` of its entries with the smallest magnitude.

    Vectors (biases, norms, recency profiles of one kernel) are left alone: they are small and each entry matters (Han
    et al. 2015).
    """
    if not 0 <= sparsity < 1:
        raise UserError(f"--compress.sparsity must be at least 0 and below 1, not {sparsity}")
    return jax.tree.map(lambda leaf: _prune(leaf, sparsity) if jnp.ndim(leaf) >= 2 else leaf, tree)


def _prune(weights: jax.Array, sparsity: float) -> jax.Array:
    dropped = int(sparsity * weights.size)
    order = jnp.argsort(jnp.abs(weights).ravel(), stable=True)
    kept = jnp.ones(weights.size, bool).at[order[:dropped]].set(False, mode="drop")
    return weights * kept.reshape(weights.shape)


def by_importance(student: Served) -> Served:
    """The pooled student in a basis whose dimensions come in the order of what they add: any prefix is usable.

    Cosines do not change when all vectors are turned alike, so the items' principal directions become the axes, and
    the turn is folded into the encoder's two matrices. Items are float32 [N, D].
    """
    _, basis = jnp.linalg.eigh(jnp.matmul(student.items.T, student.items, precision="highest"))
    basis = basis[:, ::-1]  # [D, D], largest first
    turn = lambda x: jnp.matmul(x, basis, precision="highest")  # noqa: E731
    up, down = student.history["up"], student.history["down"]
    blocks = up["kernel"].reshape(-1, len(basis), up["kernel"].shape[1])  # [K, D, hidden]
    kernel = jnp.einsum("de,kdh->keh", basis, blocks, precision="highest").reshape(up["kernel"].shape)
    history = student.history | {
        "up": up | {"kernel": kernel},
        "down": {"kernel": turn(down["kernel"]), "bias": turn(down["bias"])},
    }
    return Served(turn(student.items), history)


def narrow(student: Served, width: int) -> Served:
    """The first ``width`` dimensions of a pooled student, items normalised again."""
    wide = student.items.shape[1]
    up, down = student.history["up"], student.history["down"]
    hidden = up["kernel"].shape[1]
    kernel = up["kernel"].reshape(-1, wide, hidden)[:, :width].reshape(-1, hidden)
    history = student.history | {
        "up": up | {"kernel": kernel},
        "down": {"kernel": down["kernel"][:, :width], "bias": down["bias"][:width]},
    }
    return Served(normalize(student.items[:, :width]), history)
