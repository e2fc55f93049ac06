"""Comparisons of fast paths with their slow twins on small random inputs, one file a room."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from rexjax.data import splits
from rexjax.data.histories import Histories

CASES: dict[str, Callable[..., None]] = {}
"""Fast path, as module:name, to its comparison ``(fast, twin, rng)``."""


def case(*names: str):
    """Registers a comparison ``(fast, twin, rng)`` for fast paths, each as "room.module:name"."""

    def register(compare: Callable[..., None]) -> Callable[..., None]:
        CASES.update({f"rexjax.{name}": compare for name in names})
        return compare

    return register


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), found, expected)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def histories(rng: np.random.Generator, users: int = 12) -> Histories:
    """Users of 1 to 9 events of 15 items, several of them at one time."""
    offsets = np.cumsum([0, *rng.integers(1, 10, users)]).astype(np.int64)
    times = np.concatenate([np.sort(rng.integers(0, 6, size)) for size in np.diff(offsets)]).astype(float)
    items = rng.integers(0, 15, offsets[-1]).astype(np.int32)
    return Histories(items, times, offsets, *splits.leave_one_out(offsets))
