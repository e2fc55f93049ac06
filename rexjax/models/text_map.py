"""Rows of items that training has not met, from their text.

The row of an item that training has not met comes from its text's vector, by a map learnt from popular items that it
has met (Gantner et al. 2010, "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations"): a linear
function, fitted by ridge regression, and what it leaves of the items nearest by text, averaged (Nadaraya 1964, Watson
1964). Alone, the linear function finds less than half on Amazon's Beauty (``benchmarks.put_items``); the nearest items'
rows alone, which were tried, found a quarter on the simulated shop. The map is fitted to rows as they are served, so it
suits every way of compressing them, and is kept inside the index.
"""

from typing import Any, NamedTuple

import numpy as np

PREDICTED_AT_ONCE = 4096
"""Items whose rows are predicted in one block."""
RIDGES = 10.0 ** np.arange(-6, 2.25, 0.25)
"""Ridges that are tried, as shares of the largest eigenvalue."""
_NEAREST, _WARMTH = 20, 0.05  # items that are averaged, and of the softmax of their cosines (chosen on validation)


class TextMap(NamedTuple):
    """From text vectors to rows: ``vectors @ kernel + bias``, and what that leaves of the nearest of M known items."""

    kernel: np.ndarray
    """float32 [W, D]."""
    bias: np.ndarray
    """float32 [D]."""
    known: np.ndarray
    """float16 [M, W], text vectors of the items that it was learnt from."""
    left: np.ndarray
    """float16 [M, D], their rows less the linear function."""
    about: dict[str, Any]
    """What it was learnt from, and how well the linear function fits."""


def fit_map(vectors: np.ndarray, rows: np.ndarray) -> TextMap:
    """Learns rows float32 [M, D] from text vectors float32 [M, W]; the linear function in closed form.

    Its ridge is the one with the least generalised cross-validation error (Golub, Heath & Wahba 1979); ``about`` says
    which, and what share of the rows' variance it explains by that measure.
    """
    x, y = np.asarray(vectors, np.float64), np.asarray(rows, np.float64)
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    values, basis = np.linalg.eigh(x.T @ x)
    values, products = np.maximum(values, 0.0), basis.T @ (x.T @ y)  # [W], [W, D]
    total, weight = float((y**2).sum()), (products**2).sum(1)

    def error(ridge: float) -> float:
        left = total - (weight * (2 / (values + ridge) - values / (values + ridge) ** 2)).sum()
        freedom = 1 + (values / (values + ridge)).sum()  # one for the mean
        return left / max(1 - freedom / len(x), 1e-9) ** 2

    ridge = min(np.maximum(values[-1], 1e-12) * RIDGES, key=error)
    kernel = basis @ (products / (values + ridge)[:, None])
    left = (y - x @ kernel).astype(np.float16)
    about = {"items": len(x), "ridge": float(ridge), "explained": float(1 - error(ridge) / max(total, 1e-12))}
    linear = kernel.astype(np.float32), (mean_y - mean_x @ kernel).astype(np.float32)
    return TextMap(*linear, np.asarray(vectors, np.float16), left, about)


def predict(text_map: TextMap, vectors: np.ndarray) -> np.ndarray:
    """Unit rows float32 [N, D] of items whose text vectors are [N, W]."""
    vectors, known = np.asarray(vectors, np.float32), _unit(text_map.known.astype(np.float32))
    starts = range(0, len(vectors), PREDICTED_AT_ONCE)
    return np.concatenate([_predict(text_map, known, vectors[at : at + PREDICTED_AT_ONCE]) for at in starts])


def _predict(text_map: TextMap, known: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    cosines = _unit(vectors) @ known.T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :_NEAREST]
    cosines = np.take_along_axis(cosines, nearest, 1)
    weights = np.exp((cosines - cosines[:, :1]) / _WARMTH)
    weights /= weights.sum(1, keepdims=True)
    left = np.einsum("nk,nkd->nd", weights, text_map.left[nearest].astype(np.float32))
    return _unit(vectors @ text_map.kernel + text_map.bias + left)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
