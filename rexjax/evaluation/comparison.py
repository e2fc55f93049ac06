"""Is A better than B, is it equal, or can this test not tell? Over users, and over training seeds where there are some.

The value of user u by the model of seed s is taken as ``mean + user + seed + rest``, users and seeds drawn at random
(a mixed model with crossed effects). Of the difference between two sides, whose users are the same and whose seeds are
not, the variance is

    ``(Var_u(a_u - b_u) - r) / U + m``,  ``m = (1 / S_a + 1 / S_b) v``

where a_u and b_u are averages over seeds, v is the variance between the means of one side's seeds, estimated from both
sides, and r is the rests' share in the variance over users, which v holds already. Degrees of freedom are
Satterthwaite's (1946).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from rexjax.errors import UserError

LEVEL = 0.95
"""Of intervals; equivalence is tested at 1 - LEVEL on either side (Schuirmann 1987)."""
POWER = 0.8
"""Of the smallest difference that a test would have seen."""


class Compared(NamedTuple):
    """A minus B, in the unit of the metric."""

    difference: float
    low: float
    """Of the 95 % interval."""
    high: float
    relative: float | None
    """difference / mean of B; None where that mean is 0."""
    p: float
    """Two-sided, that the true difference is 0."""
    margin: float
    """Up to it a difference counts as none."""
    equal_low: float
    """Of the 90 % interval, which lies within the margin where two one-sided tests at 5 % call A and B equal."""
    equal_high: float
    detectable: float
    """The smallest true difference that this test finds in four of five tries."""
    seeds: tuple[int, int]
    """Training seeds of A and of B."""

    @property
    def equal(self) -> bool:
        """Whether A and B are equal within the margin."""
        return -self.margin < self.equal_low and self.equal_high < self.margin

    @property
    def seeds_counted(self) -> bool:
        """Whether the interval holds the spread between seeds: it does where one side has two seeds or more."""
        return max(self.seeds) > 1


def compare(a: np.ndarray, b: np.ndarray, margin: float = 0.02) -> Compared:
    """Compares two models on the same users.

    Args:
        a: float [S_a, U], a metric per training seed and user; [U] of one seed.
        b: float [S_b, U], the same metric and users, of the model it is compared with.
        margin: share of B's mean up to which a difference counts as none, set before looking.

    Raises:
        UserError: a margin that is not above 0.
        ValueError: other users on either side, less than two of them, or a NaN.
    """
    a, b = (np.atleast_2d(np.asarray(side, np.float64)) for side in (a, b))
    if a.shape[1] != b.shape[1] or a.shape[1] < 2 or np.isnan(a).any() or np.isnan(b).any():
        raise ValueError(f"two sides need the same users, two or more, and no NaN: {a.shape} and {b.shape}")
    if not margin > 0:
        raise UserError(f"a margin of {margin:g} calls nothing equal: set it above 0")
    differences = a.mean(0) - b.mean(0)
    difference, base = float(differences.mean()), float(b.mean())
    error, freedom = _standard_error(a, b, differences)
    within, beyond = _quantile(freedom, (1 + LEVEL) / 2) * error, _quantile(freedom, LEVEL) * error
    return Compared(
        difference,
        difference - within,
        difference + within,
        difference / base if base else None,
        _two_sided(difference, error, freedom),
        margin * abs(base),
        difference - beyond,
        difference + beyond,
        within + _quantile(freedom, POWER) * error,
        (len(a), len(b)),
    )


def _standard_error(a: np.ndarray, b: np.ndarray, differences: np.ndarray) -> tuple[float, float]:
    """Of the mean difference, with its degrees of freedom."""
    users = len(differences)
    of_users = differences.var(ddof=1) / users
    freedom = [len(side) - 1 for side in (a, b)]
    if not sum(freedom):
        return float(np.sqrt(of_users)), users - 1
    share = (1 / len(a) + 1 / len(b)) / sum(freedom)
    means = share * sum(((side.mean(1) - side.mean()) ** 2).sum() for side in (a, b))
    rests = share * sum(_rest(side) for side in (a, b)) / users
    total = max(of_users - rests, 0.0) + means
    parts = of_users**2 / (users - 1) + means**2 / sum(freedom)
    return float(np.sqrt(total)), float(total**2 / parts) if parts else users - 1


def _rest(side: np.ndarray) -> float:
    """Sum over seeds of the variance over users of what neither user nor seed explains."""
    rest = side - side.mean(0) - side.mean(1, keepdims=True) + side.mean()
    return float((rest**2).sum() / (side.shape[1] - 1))


def _quantile(freedom: float, probability: float) -> float:
    return float(stdtrit(freedom, probability))


def _two_sided(difference: float, error: float, freedom: float) -> float:
    if error == 0:
        return float(difference == 0)
    return float(2 * stdtr(freedom, -abs(difference) / error))


def holm(values: np.ndarray) -> np.ndarray:
    """p values of several tests adjusted so that one wrong claim among all of them stays as rare as in one (Holm 1979).

    Args:
        values: float [M].

    Returns:
        float64 [M], at most 1.
    """
    values = np.asarray(values, np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty_like(raised)
    adjusted[order] = np.minimum(raised, 1)
    return adjusted


def verdict(found: Compared, a: str, b: str, metric: str) -> str:
    """One sentence: better, worse, equal, or not to be told.

    Args:
        found: of A and B.
        a: name of A.
        b: name of B.
        metric: as tables spell it.
    """
    share = f" ({found.relative:+.1%})" if found.relative is not None else ""
    figures = f"{found.difference:+.4f} {metric}{share}, 95 % interval {found.low:+.4f} to {found.high:+.4f}"
    if found.low > 0 or found.high < 0:
        small = f", though equal within ±{found.margin:.4f}" if found.equal else ""
        return f"{a} is {'better' if found.difference > 0 else 'worse'} than {b}: {figures}{small}."
    if found.equal:
        return f"{a} equals {b} within ±{found.margin:.4f}: {figures}."
    return (
        f"This test cannot tell {a} from {b}: {figures}; it would have seen a difference of {found.detectable:.4f} in "
        "four of five tries."
    )
