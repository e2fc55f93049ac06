"""Pruning by magnitude, gradually."""

from typing import Any

import jax
import jax.numpy as jnp


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
    """Shares of zeros, rising to ``sparsity`` along a cubic: much at first, when much is idle (Zhu & Gupta 2017).

    >>> [round(share, 3) for share in gradually(0.5, steps=4)]
    [0.289, 0.438, 0.492, 0.5]
    """
    return [sparsity * (1 - (1 - step / steps) ** 3) for step in range(1, steps + 1)]


def keep_zeros(weights: Any, pruned: Any) -> Any:
    """``weights`` with zeros wherever a kernel of ``pruned`` has them.

    >>> import jax.numpy as jnp
    >>> pruned = {"kernel": jnp.asarray([0.0, 2.0]), "bias": jnp.zeros(2)}
    >>> kept = keep_zeros({"kernel": jnp.ones(2), "bias": jnp.ones(2)}, pruned)
    >>> kept["kernel"].tolist(), kept["bias"].tolist()
    ([0.0, 1.0], [1.0, 1.0])
    """

    def kept(path: tuple[Any, ...], new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(old == 0, 0, new) if is_kernel(path) else new

    return jax.tree.map_with_path(kept, weights, pruned)
