"""What answers users: serving parameters, and any model's state as named arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding.rows import FORMATS


class Served(NamedTuple):
    """What answers users: the item side folded into one matrix, and the history encoder's parameters."""

    items: Any
    """float32 [N, D] (or rows quantised by ``rexjax.compression``)."""
    history: Any
    """Parameters of the history encoder."""


def flatten(state: Any) -> dict[str, np.ndarray]:
    """A pytree of dicts, named tuples and quantised rows as named arrays, "items", "history/up/kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {"/".join(map(_name, path)): np.asarray(leaf) for path, leaf in leaves}


def _name(key: Any) -> str:
    return str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))


def unflatten(leaves: dict[str, Any]) -> dict[str, Any]:
    """Named arrays as nested dicts, with quantised rows put together: what ``Model.state_from`` is given."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *folders, last = name.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = jnp.asarray(leaf)
    return _with_rows(tree)


def _with_rows(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    for kind in FORMATS:
        if tree.keys() == set(kind._fields):
            return kind(**tree)
    return {name: _with_rows(child) for name, child in tree.items()}
