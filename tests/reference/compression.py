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
