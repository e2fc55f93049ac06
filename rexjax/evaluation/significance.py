"""Is a difference between two models more than luck? Bootstrap over users (Sakai, SIGIR 2006).

Both models answer the same users, so the users are drawn again and again with replacement and the difference per user
is averaged over each draw: the percentiles of those averages are the interval.
"""

from typing import NamedTuple

import numpy as np

DRAWS_AT_ONCE = 4 * 2**20
"""Users drawn in one block: 16 MiB of indices, 32 MiB of values."""


class Interval(NamedTuple):
    """Mean of a minus mean of b over the same users."""

    difference: float
    low: float
    high: float
    relative: float | None  # difference / mean of b; None where that mean is 0
    p: float  # two-sided, that the true difference is 0; never below 2 / (resamples + 1)


class Estimate(NamedTuple):
    """A mean over users with its interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(a: np.ndarray, b: np.ndarray, seed: int, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Percentile interval of the mean difference between two models on the same users.

    Args:
      a: float [U], a metric per user of the model in question.
      b: float [U], the same metric and users, of the model it is compared with.
      seed: of the draws.
      resamples: draws of U users.
      level: share of draws inside the interval.

    Returns:
      Interval, in the unit of the metric.

    Raises:
      ValueError: the two are not of one length, or hold no users or a NaN.

    >>> import numpy as np
    >>> interval = paired_bootstrap(np.asarray([0.5, 0.7]), np.asarray([0.4, 0.6]), seed=0)
    >>> round(interval.low, 3), round(interval.difference, 3), round(interval.high, 3)
    (0.1, 0.1, 0.1)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"a pair needs the same users: {a.shape} and {b.shape}")
    means = _resampled_means(a - b, seed, resamples)
    low, high = _percentiles(means, level)
    difference, base = float(np.mean(a - b)), float(np.mean(b))
    tail = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (float(tail) + 1) / (resamples + 1))
    return Interval(difference, low, high, difference / base if base else None, p)


def bootstrap_mean(a: np.ndarray, seed: int, resamples: int = 2000, level: float = 0.95) -> Estimate:
    """Mean over users of ``a``, float [U], with its percentile interval; arguments as in `paired_bootstrap`.

    >>> import numpy as np
    >>> estimate = bootstrap_mean(np.asarray([0.0, 1.0, 1.0, 0.0]), seed=0)
    >>> estimate.mean, estimate.low < 0.5 < estimate.high
    (0.5, True)
    """
    a = np.asarray(a, np.float64)
    return Estimate(float(np.mean(a)), *_percentiles(_resampled_means(a, seed, resamples), level))


def _resampled_means(values: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """Means of U values drawn with replacement, float64 [resamples]; drawn in blocks to bound memory."""
    if values.ndim != 1 or not len(values) or np.isnan(values).any():
        raise ValueError(f"one number per user is needed, none of them NaN; the shape is {values.shape}")
    rng = np.random.default_rng(seed)
    users = len(values)
    block = max(DRAWS_AT_ONCE // users, 1)
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    draws = (rng.integers(0, users, (size, users), dtype=np.int32) for size in sizes)
    return np.concatenate([values[drawn].mean(axis=1) for drawn in draws])


def _percentiles(means: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
