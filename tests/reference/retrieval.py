"""Top-k by sorting, scores of rows made float64, and the map from text to rows by least squares."""

from typing import Any

import numpy as np

from rexjax.embedding.product import ProductRows
from rexjax.embedding.quantized import QuantizedRows
from tests.reference.compression import decode, dequantize


def plain(rows: Any) -> np.ndarray:
    """float64 [N, D] that rows stand for, whatever they are kept in."""
    if isinstance(rows, ProductRows):
        return decode(rows.codes, np.asarray(rows.books, np.float64))
    return dequantize(rows) if isinstance(rows, QuantizedRows) else np.asarray(rows, np.float64)


def unit(x: np.ndarray) -> np.ndarray:
    """Unit vectors along the last axis."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def top_k(
    queries: np.ndarray,
    items: Any,
    k: int,
    *,
    exclude: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    cosine: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Sorts whole rows of scores; equal scores by id."""
    scores = score(unit(np.asarray(queries, np.float64)) if cosine else queries, items, cosine)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    for row, ids in zip(scores, [] if exclude is None else np.asarray(exclude), strict=False):
        row[ids[ids >= 0]] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


def score(queries: np.ndarray, rows: Any, cosine: bool = False) -> np.ndarray:
    """float64 [B, N]."""
    rows = plain(rows)
    return np.asarray(queries, np.float64) @ (unit(rows) if cosine else rows).T


def score_by_row(queries: np.ndarray, rows: Any, cosine: bool = False) -> np.ndarray:
    """float64 [N, B]."""
    return score(queries, rows, cosine).T


def take(rows: Any, histories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [B, L, D], zeros for -1, and a mask bool [B, L]."""
    rows = plain(rows)
    zeros = np.zeros(rows.shape[1])
    vectors = [[rows[item] if item >= 0 else zeros for item in history] for history in histories]
    return np.asarray(vectors), np.asarray([[item >= 0 for item in history] for history in histories])


def block_maxima(queries: np.ndarray, items: Any, mask: np.ndarray | None, block: int) -> np.ndarray:
    """The best score of each block of ``block`` neighbouring items: [B, N / block]."""
    scores = score(queries, items)
    scores = scores if mask is None else np.where(mask, scores, -np.inf)
    return np.stack([scores[:, at : at + block].max(1) for at in range(0, scores.shape[1], block)], 1)


def score_blocks(queries: np.ndarray, items: Any, starts: np.ndarray, block: int) -> np.ndarray:
    """Scores [B, J, block] of the items from each of ``starts`` [B, J]."""
    scores = score(queries, items)
    return np.asarray([[row[at : at + block] for at in own] for row, own in zip(scores, starts, strict=True)])


def ridge_error(vectors: np.ndarray, rows: np.ndarray, ridge: float) -> float:
    """The generalised cross-validation error of a ridge, by its definition (Golub, Heath & Wahba 1979)."""
    x, y = vectors - vectors.mean(0), rows - rows.mean(0)
    hat = x @ np.linalg.inv(x.T @ x + ridge * np.eye(x.shape[1])) @ x.T
    return ((y - hat @ y) ** 2).sum() / (1 - (1 + np.trace(hat)) / len(x)) ** 2


def ridge_map(vectors: np.ndarray, rows: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [W, D] and bias [D] by least squares, with rows of √ridge below the centred vectors."""
    x, y = vectors - vectors.mean(0), rows - rows.mean(0)
    width = x.shape[1]
    below = np.concatenate([x, np.sqrt(ridge) * np.eye(width)]), np.concatenate([y, np.zeros((width, y.shape[1]))])
    kernel = np.linalg.lstsq(*below, rcond=None)[0]
    return kernel, rows.mean(0) - vectors.mean(0) @ kernel


def fit_map(vectors: np.ndarray, rows: np.ndarray, ridges: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The best of ``ridges`` (shares of the largest eigenvalue), with its kernel and bias."""
    x = vectors - vectors.mean(0)
    tried = np.linalg.eigvalsh(x.T @ x)[-1] * ridges
    ridge = min(tried, key=lambda ridge: ridge_error(vectors, rows, ridge))
    return ridge, *ridge_map(vectors, rows, ridge)


def predict(kernel: np.ndarray, bias: np.ndarray, vectors: np.ndarray, rows: np.ndarray, asked: np.ndarray):
    """Unit rows [M, D]: the linear function, and what it leaves of the 20 known items nearest by text.

    Args:
        kernel: [W, D].
        bias: [D].
        vectors: [N, W], of the known items.
        rows: [N, D], of the known items.
        asked: [M, W].
    """
    predicted = []
    for vector in asked:
        cosines = np.asarray([vector @ known / np.linalg.norm(known) / np.linalg.norm(vector) for known in vectors])
        nearest = np.argsort(cosines)[::-1][:20]
        weights = np.exp(cosines[nearest] / 0.05)
        left = rows[nearest] - (vectors[nearest] @ kernel + bias)
        predicted.append(vector @ kernel + bias + weights @ left / weights.sum())
    return unit(np.asarray(predicted))
