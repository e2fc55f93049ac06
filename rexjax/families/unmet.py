"""Items that training never met: their vectors come from text alone, and how much these count is measured.

No label ever says that such an item is not chosen, so that its score is too high beside those of items that were
taught. One factor on all their vectors, chosen on validation, makes up for it; a log whose validation asks for new
items keeps them at their full length.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from rexjax.embedding import rows
from rexjax.models.served import Served

FACTORS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
_MEASURED, _ROUNDING = 1000, 0.04  # rows that are looked at, and what four bits change in a length


def calibrated(
    served: Served, unmet: np.ndarray, validate: Callable[[Served], dict[str, float]], metric: str
) -> tuple[Served, dict[str, float]]:
    """The vectors of unmet items at the length that is best on validation; of equal ones the longest.

    Args:
        served: items float32 [N, D].
        unmet: bool [N], items without a training interaction.
        validate: metrics of a state on validation.
        metric: the one that decides.

    Returns:
        The state with these vectors, and its metrics.
    """
    if not unmet.any():
        return served, validate(served)
    best, found = FACTORS[0], validate(served)
    for factor in FACTORS[1:]:
        metrics = validate(scaled(served, unmet, factor))
        if metrics[metric] > found[metric]:
            best, found = factor, metrics
    return scaled(served, unmet, best), found


def factor_of(items: Any, unmet: np.ndarray) -> float:
    """The factor that the vectors of unmet items were given, from their lengths.

    Args:
        items: item rows [N, D], quantised or not, of which those that training has met have length 1.
        unmet: bool [N].

    Returns:
        One of ``FACTORS``; 1 where no item is unmet, or lengths do not tell.
    """
    met, length = _length(items, ~unmet), _length(items, unmet)
    nearest = min(FACTORS, key=partial(_distance, length))
    return nearest if max(abs(met - 1), _distance(length, nearest)) < _ROUNDING else FACTORS[0]


def _length(items: Any, some: np.ndarray) -> float:
    """The median length of the rows of some items that are not zero; 1 where there are none."""
    ids = np.flatnonzero(some)[:_MEASURED].astype(np.int32)
    lengths = np.linalg.norm(np.asarray(rows.take(items, ids[None])[0][0], np.float32), axis=1)
    return float(np.median(lengths[lengths > 0])) if lengths.any() else 1.0


def _distance(length: float, factor: float) -> float:
    return abs(length - factor)


def scaled(served: Served, unmet: np.ndarray, factor: float) -> Served:
    """Vectors of unmet items times ``factor``."""
    return served._replace(items=served.items * jnp.where(jnp.asarray(unmet), factor, 1.0)[:, None])
