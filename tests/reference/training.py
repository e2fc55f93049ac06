"""Steps one after another, and the distribution that negatives are drawn from."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np


def one_by_one(
    step: Callable[..., Any], state: Any, steps: Iterable[tuple[Any, Any]], constants: Any
) -> tuple[Any, list[float]]:
    """The state after all steps and the loss of each, every step as a program of its own."""
    losses = []
    for batch, lists in steps:
        state, metrics = jax.jit(step)(state, batch, lists, constants)
        losses.append(float(metrics["loss"]))
    return state, losses


def share_of_each(popularity: np.ndarray, block: int) -> np.ndarray:
    """The probability of each item as a negative: that of its block by popularity, each item counting one more,
    divided evenly among the block's items."""
    counts, shares = popularity + 1, np.empty(len(popularity))
    for start in range(0, len(counts), block):
        inside = counts[start : start + block]
        shares[start : start + block] = inside.sum() / counts.sum() / len(inside)
    return shares


def items_without(pairs: set[tuple[int, int]], user: int, items: int) -> list[int]:
    """The items that a user does not have, each of which is as likely as the others to be drawn."""
    return [item for item in range(items) if (user, item) not in pairs]
