"""Pruning: weights by magnitude, little by little, and whole dimensions of the vectors by what they add."""

from typing import Any

import jax
import jax.numpy as jnp

from rexjax.models.layers import normalize
from rexjax.models.recommender import Served


def magnitude_prune(tree: Any, sparsity: float) -> Any:
    """Sets to zero, in every matrix of ``tree``, the share ``sparsity`` of its entries with the smallest magnitude.

    Vectors (biases, norms) are left alone: they are small and each entry matters (Han et al. 2015). ``sparsity`` is
    from 0 to below 1.
    """
    return jax.tree.map(lambda leaf: _prune(leaf, sparsity) if jnp.ndim(leaf) >= 2 else leaf, tree)


def _prune(weights: jax.Array, sparsity: float) -> jax.Array:
    dropped = int(sparsity * weights.size)
    order = jnp.argsort(jnp.abs(weights).ravel(), stable=True)
    kept = jnp.ones(weights.size, bool).at[order[:dropped]].set(False, mode="drop")
    return weights * kept.reshape(weights.shape)


def gradually(sparsity: float, steps: int) -> list[float]:
    """Shares of zeros, rising to ``sparsity`` along a cubic: much at first, when much is idle (Zhu & Gupta 2017)."""
    return [sparsity * (1 - (1 - step / steps) ** 3) for step in range(1, steps + 1)]


def keep_zeros(weights: Any, pruned: Any) -> Any:
    """``weights`` with zeros wherever a matrix of ``pruned`` has them."""
    return jax.tree.map(lambda new, old: jnp.where(old == 0, 0, new) if jnp.ndim(old) >= 2 else new, weights, pruned)


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
