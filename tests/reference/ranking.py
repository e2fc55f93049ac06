"""Rankers, their optimizer, metrics and calibration written out in NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def ftrl(
    gradients: Sequence[np.ndarray], rate: float, beta: float, l1: float, l2: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, z and n after all gradients [S, W], weight by weight, as in Algorithm 1 of McMahan et al. 2013."""
    width = len(gradients[0])
    found = np.zeros((3, width))
    for place in range(width):
        z = n = w = 0.0
        for gradient in gradients:
            g = float(gradient[place])
            sigma = (np.sqrt(n + g * g) - np.sqrt(n)) / rate
            z += g - sigma * w
            n += g * g
            w = 0.0 if abs(z) <= l1 else -(z - np.sign(z) * l1) / ((beta + np.sqrt(n)) / rate + l2)
        found[:, place] = w, z, n
    return found[0], found[1], found[2]


def auc(logits: np.ndarray, labels: np.ndarray) -> float:
    """All pairs of a one and a zero."""
    ones, zeros = logits[labels == 1], logits[labels == 0]
    return float(np.mean([(one > zero) + 0.5 * (one == zero) for one in ones for zero in zeros]))


def pairwise_sum(vectors: np.ndarray) -> np.ndarray:
    """Pair by pair."""
    return dot_products(vectors).sum(1)


def dot_products(vectors: np.ndarray) -> np.ndarray:
    """Pair by pair: (1, 0), (2, 0), (2, 1), …"""
    pairs = [(first, second) for first in range(vectors.shape[1]) for second in range(first)]
    return np.stack([(vectors[:, first] * vectors[:, second]).sum(1) for first, second in pairs], 1)


def cross_layers(params: Any, first: np.ndarray, count: int, rank: int) -> np.ndarray:
    """Example by example and coordinate by coordinate."""
    rows = []
    for x0 in first:
        x = x0
        for number in range(count):
            kernel = np.asarray(params[f"cross_{number}"]["kernel"])
            kernel = np.asarray(params[f"low_{number}"]["kernel"]) @ kernel if rank else kernel
            inner = [sum(x * kernel[:, j]) + params[f"cross_{number}"]["bias"][j] for j in range(len(x))]
            x = np.asarray([x0[j] * inner[j] + x[j] for j in range(len(x))])
        rows.append(x)
    return np.asarray(rows)


def bags(rows: np.ndarray, weights: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Bag by bag."""
    found, start = [], 0
    for width in widths:
        found.append(sum(rows[:, start + k] * weights[:, start + k, None] for k in range(width)))
        start += width
    return np.stack(found, 1)


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The best of a fine grid."""
    grid = np.exp(np.linspace(-3, 3, 6001))
    losses = [(np.logaddexp(0, logits / t) - labels * logits / t).mean() for t in grid]
    return float(grid[np.argmin(losses)])


def isotonic(labels: np.ndarray) -> np.ndarray:
    """The fit of labels in the order of their logits, by its min-max formula."""
    count = len(labels)
    means = [[labels[a : b + 1].mean() if a <= b else np.nan for b in range(count)] for a in range(count)]
    return np.asarray([max(min(means[a][b] for b in range(i, count)) for a in range(i + 1)) for i in range(count)])


def order_of_two_stages(ids: np.ndarray, logits: np.ndarray, base: np.ndarray) -> list[list[int]]:
    """All items, the best first: the retrieved by their logits, then the others by the first stage."""
    orders = []
    for own, ranked, scores in zip(ids, logits, base, strict=True):
        first = [int(own[place]) for place in np.argsort(-ranked)]
        orders.append(first + [int(item) for item in np.argsort(-scores) if item not in own])
    return orders
