"""Items that training never met: their vectors come from text alone, and how much these count is measured.

No label ever says that such an item is not chosen, so that its score is too high beside those of items that were
taught. One factor on all their vectors, chosen on validation, makes up for it; a log whose validation asks for new
items keeps them at their full length.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from rexjax.models.served import Served

FACTORS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3)


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


def scaled(served: Served, unmet: np.ndarray, factor: float) -> Served:
    """Vectors of unmet items times ``factor``."""
    return served._replace(items=served.items * jnp.where(jnp.asarray(unmet), factor, 1.0)[:, None])
