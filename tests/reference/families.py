"""What families compute, written out in NumPy."""

import numpy as np


def inverse_after_change(precision: np.ndarray, rows: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """The inverse of a Gram matrix whose ``rows`` [K, N] became ``rows + changes``, from its inverse."""
    gram = np.linalg.inv(precision.astype(np.float64))
    for before, change in zip(rows, changes, strict=True):
        after = before + change
        gram += np.outer(after, after) - np.outer(before, before)
    return np.linalg.inv(gram)
