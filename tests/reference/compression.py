"""Rows rounded one by one, and kernels pruned by sorting their entries."""

from typing import Any

import numpy as np

from rexjax.embedding.quantized import QuantizedRows

LEVELS = {8: 127, 4: 7}
REACHES = {8: [1.0], 4: [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6]}


def quantize_rows(rows: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers [V, D] and scales [V, 1] of rows [V, D]; of several scales that with the least squared error."""
    numbers, scales = [], []
    for row in np.asarray(rows, np.float32):
        largest = max(np.abs(row).max(), np.float32(1e-12))
        tried = [np.float32(reach) * largest / np.float32(LEVELS[bits]) for reach in REACHES[bits]]
        rounded = [np.clip(np.round(row / scale), -LEVELS[bits], LEVELS[bits]) for scale in tried]
        errors = [((number * scale - row) ** 2).sum() for number, scale in zip(rounded, tried, strict=True)]
        best = int(np.argmin(errors))
        numbers.append(rounded[best])
        scales.append([tried[best]])
    return np.asarray(numbers), np.asarray(scales)


def rounded(rows: np.ndarray, bits: int) -> np.ndarray:
    """The rows that training sees: numbers × scales."""
    numbers, scales = quantize_rows(rows, bits)
    return numbers * scales


def unpack(rows: QuantizedRows) -> np.ndarray:
    """Whole numbers [V, D], byte by byte: two of int4 lie in one, the first half of D in the low four bits."""
    values = np.asarray(rows.values)
    if values.dtype != np.uint8:
        return values.astype(np.float64)
    halves = [[[int(byte) % 16 for byte in row], [int(byte) // 16 for byte in row]] for row in values]
    return np.asarray([low + high for low, high in halves], np.float64) - 8


def dequantize(rows: QuantizedRows) -> np.ndarray:
    """float64 [V, D]."""
    return unpack(rows) * np.asarray(rows.scales, np.float64)


def magnitude_prune(tree: Any, sparsity: float) -> Any:
    """Zeros in every ``kernel`` of nested dicts: the smallest entries, one after another."""
    if not isinstance(tree, dict):
        return np.asarray(tree)
    pruned = {name: magnitude_prune(leaf, sparsity) for name, leaf in tree.items()}
    if "kernel" in pruned:
        kernel = pruned["kernel"].copy()
        for place in sorted(np.ndindex(kernel.shape), key=lambda place: abs(kernel[place]))[
            : int(sparsity * kernel.size)
        ]:
            kernel[place] = 0
        pruned["kernel"] = kernel
    return pruned


def decode(codes: np.ndarray, books: np.ndarray) -> np.ndarray:
    """Rows [N, D] of product codes [N, M]: centroid after centroid."""
    return np.asarray([np.concatenate([books[m][code] for m, code in enumerate(row)]) for row in np.asarray(codes)])


def nearest_codes(rows: np.ndarray, books: np.ndarray) -> np.ndarray:
    """The centroid with the least squared distance, for each row and book: [N, M]."""
    books = np.asarray(books, np.float64)
    codes = []
    for row in np.asarray(rows, np.float64):
        parts = np.split(row, len(books))
        codes.append([int(np.argmin(((book - part) ** 2).sum(1))) for book, part in zip(books, parts, strict=True)])
    return np.asarray(codes)


def weighted_centroids(rows: np.ndarray, codes: np.ndarray, weights: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Means of the sub-vectors that have a code: [M, 256, D / M]; where no weight falls, those before."""
    books = np.array(before, np.float64)
    for m, code in np.ndindex(books.shape[:2]):
        members = np.asarray(codes)[:, m] == code
        if weights[members].sum() > 0:
            part = np.split(np.asarray(rows, np.float64), len(books), 1)[m]
            books[m, code] = np.average(part[members], axis=0, weights=weights[members])
    return books


def improved_books(rows: np.ndarray, weights: np.ndarray, books: np.ndarray, rounds: int) -> np.ndarray:
    """k-means from the books that are given (Lloyd 1982)."""
    for _ in range(rounds):
        books = weighted_centroids(rows, nearest_codes(rows, books), weights, books)
    return books
