"""Logits as probabilities that keep their word: one temperature, or an isotonic step function."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import isotonic_regression

ROUNDS = 60
"""Halvings of the interval of a temperature's logarithm."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number by which logits are divided so that their cross-entropy is least (Guo et al. 2017).

    The order of the logits, and so the AUC, stays. The loss is convex in the inverse, whose root of the derivative is
    found by halving between 1/1000 and 1000.

    Args:
        logits: float [E], of examples that were not trained on.
        labels: 0 or 1, [E].

    >>> import numpy as np
    >>> round(fit_temperature(np.asarray([4.0, 4.0, 4.0, -4.0]), np.asarray([1, 1, 0, 0])), 3)  # 3 of 4 are right
    3.641
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    low, high = np.log(1e-3), np.log(1e3)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        slope = (logits * (_sigmoid(logits * np.exp(middle)) - labels)).mean()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


class Isotonic(NamedTuple):
    """A function of logits that never falls, constant beyond its ends and linear between its knots."""

    logits: Any
    """float32 [P], rising."""
    probabilities: Any
    """float32 [P]."""

    def __call__(self, logits: jax.Array) -> jax.Array:
        """Probabilities float32 [...] of logits [...]."""
        return jnp.interp(logits, jnp.asarray(self.logits), jnp.asarray(self.probabilities))


def fit_isotonic(logits: np.ndarray, labels: np.ndarray) -> Isotonic:
    """The rising function with the least squared error (Ayer et al. 1955; Zadrozny & Elkan, KDD 2002).

    Args:
        logits: float [E], finite, of examples that were not trained on.
        labels: 0 or 1, [E].

    >>> import numpy as np
    >>> found = fit_isotonic(np.asarray([0.0, 1.0, 2.0, 3.0]), np.asarray([0, 1, 0, 1]))
    >>> found(np.asarray([0.0, 1.0, 2.0, 3.0])).tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    values, inverse, counts = np.unique(np.asarray(logits, np.float32), return_inverse=True, return_counts=True)
    means = np.bincount(inverse, np.asarray(labels, np.float64)) / counts
    found = isotonic_regression(means, weights=counts)
    places = np.unique([*found.blocks[:-1], *(found.blocks[1:] - 1)])  # each step's ends
    return Isotonic(values[places], found.x[places].astype(np.float32))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))
