"""Pruning: weights by magnitude, little by little, and whole dimensions of the vectors by what they add."""

from typing import Any

import jax
import jax.numpy as jnp

from rexjax.models.layers import normalize
from rexjax.models.recommender import Served


def magnitude_prune(tree: Any, sparsity: float) -> Any:
    """Sets to zero, in every kernel of ``tree``, the share ``sparsity`` of its entries with the smallest magnitude.

    What is no product's matrix is left alone (biases, norms, recency profiles, positions): a zero there is a value like
    any other, and each entry matters (Han et al. 2015). ``sparsity`` is from 0 to below 1.

    Raises:
        ValueError: ``sparsity`` is not from 0 to below 1.

    >>> import jax.numpy as jnp
    >>> magnitude_prune({"kernel": jnp.asarray([[3.0, 1.0], [0.5, 2.0]])}, 0.5)["kernel"].tolist()
    [[3.0, 0.0], [0.0, 2.0]]
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity is {sparsity}: it must be a share from 0 to below 1")
    return jax.tree.map_with_path(lambda path, leaf: _prune(leaf, sparsity) if is_kernel(path) else leaf, tree)


def is_kernel(path: tuple[Any, ...]) -> bool:
    """Whether the leaf at ``path`` is a product's matrix."""
    return getattr(path[-1], "key", None) == "kernel"


def _prune(weights: jax.Array, sparsity: float) -> jax.Array:
    dropped = int(sparsity * weights.size)
    order = jnp.argsort(jnp.abs(weights).ravel(), stable=True)
    kept = jnp.ones(weights.size, bool).at[order[:dropped]].set(False, mode="drop")
    return weights * kept.reshape(weights.shape)


def gradually(sparsity: float, steps: int) -> list[float]:
    """Shares of zeros, rising to ``sparsity`` along a cubic: much at first, when much is idle (Zhu & Gupta 2017)."""
    return [sparsity * (1 - (1 - step / steps) ** 3) for step in range(1, steps + 1)]


def keep_zeros(weights: Any, pruned: Any) -> Any:
    """``weights`` with zeros wherever a kernel of ``pruned`` has them."""

    def kept(path: tuple[Any, ...], new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(old == 0, 0, new) if is_kernel(path) else new

    return jax.tree.map_with_path(kept, weights, pruned)


def by_importance(student: Served) -> Served:
    """The pooled student in a basis whose dimensions come in the order of what they add: any prefix is usable.

    The items' principal directions become the axes. Items are float32 [N, D].
    """
    _, basis = jnp.linalg.eigh(jnp.matmul(student.items.T, student.items, precision="highest"))
    return turn(student, basis[:, ::-1])  # largest first


def evenly(student: Served) -> Served:
    """The pooled student in a basis drawn at random, always the same one: no dimension is larger than the others, so
    that one scale a row suits all of its entries (as in QuaRot, Ashkboos et al. 2024)."""
    width = student.items.shape[1]
    basis, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (width, width)))
    return turn(student, basis)


def turn(student: Served, basis: jax.Array) -> Served:
    """The pooled student in the axes ``basis``, orthonormal columns [D, D].

    Cosines do not change when all vectors are turned alike; the turn is folded into the encoder's two matrices.
    """
    turned = lambda x: jnp.matmul(x, basis, precision="highest")  # noqa: E731
    up, down = student.history["up"], student.history["down"]
    blocks = up["kernel"].reshape(-1, len(basis), up["kernel"].shape[1])  # [K, D, hidden]
    kernel = jnp.einsum("de,kdh->keh", basis, blocks, precision="highest").reshape(up["kernel"].shape)
    history = student.history | {
        "up": up | {"kernel": kernel},
        "down": {"kernel": turned(down["kernel"]), "bias": turned(down["bias"])},
    }
    return Served(turned(student.items), history)


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
