"""Paired comparison of two models over users and training seeds: better, worse, equal, or inconclusive.

The metric of user u under training seed s is modelled as ``mean + user + seed + residual`` with random users and seeds
(a mixed model with crossed effects). Both sides share the users, not the seeds. The difference of means has variance

    ``(Var_u(a_u - b_u) - r) / U + m``,  ``m = (1 / S_a + 1 / S_b) v``

where a_u and b_u are averages over seeds and v is the variance between seed means of one side, pooled over both sides.
v includes the residuals; r is their share in the variance over users, subtracted so that they count once. Degrees of
freedom follow Satterthwaite (1946).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from rexjax.errors import UserError

LEVEL = 0.95
"""Of intervals; equivalence is tested at 1 - LEVEL on either side (Schuirmann 1987)."""
POWER = 0.8
"""Power at the detectable difference."""


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
    """Equivalence margin."""
    equal_low: float
    """Of the 90 % interval. It lies within the margin exactly when two one-sided tests at 5 % find A and B equal."""
    equal_high: float
    detectable: float
    """The smallest true difference that the test finds with probability 0.8."""
    seeds: tuple[int, int]
    """Training seeds of A and of B."""

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

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
        margin: equivalence margin as a share of B's mean, chosen before looking at results.

    Raises:
        UserError: a margin that is not above 0.
        ValueError: other users on either side, less than two of them, or a NaN.

    >>> import numpy as np
    >>> compared = compare(np.asarray([0.5, 0.7, 0.6, 0.8]), np.asarray([0.4, 0.5, 0.5, 0.6]))
    >>> round(compared.difference, 2), compared.significant
    (0.15, True)
    """
    a, b = (np.atleast_2d(np.asarray(side, np.float64)) for side in (a, b))
    if a.shape[1] != b.shape[1] or a.shape[1] < 2 or np.isnan(a).any() or np.isnan(b).any():
        raise ValueError(f"two sides need the same users, two or more, and no NaN: {a.shape} and {b.shape}")
    if not margin > 0:
        raise UserError(f"the margin is {margin:g}: set it above 0")
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
    """Residual variance over users, summed over seeds."""
    rest = side - side.mean(0) - side.mean(1, keepdims=True) + side.mean()
    return float((rest**2).sum() / (side.shape[1] - 1))


def _quantile(freedom: float, probability: float) -> float:
    return float(stdtrit(freedom, probability))


def _two_sided(difference: float, error: float, freedom: float) -> float:
    if error == 0:
        return float(difference == 0)
    return float(2 * stdtr(freedom, -abs(difference) / error))


def holm(values: np.ndarray) -> np.ndarray:
    """p values adjusted for the number of tests, so that the family-wise error rate holds (Holm 1979).

    Args:
        values: float [M].

    Returns:
        float64 [M], at most 1.

    >>> import numpy as np
    >>> holm(np.asarray([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(values, np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty_like(raised)
    adjusted[order] = np.minimum(raised, 1)
    return adjusted


def judge(difference: float, significant: bool, equal: bool) -> str:
    """ "better", "worse", "equal" or "inconclusive"; a significant difference comes first."""
    if significant:
        return "better" if difference > 0 else "worse"
    return "equal" if equal else "inconclusive"


def verdict(found: Compared, a: str, b: str, metric: str) -> str:
    """One sentence: better, worse, equal, or inconclusive.

    Args:
        found: of A and B.
        a: name of A.
        b: name of B.
        metric: as tables spell it.
    """
    share = f" ({found.relative:+.1%})" if found.relative is not None else ""
    figures = f"{found.difference:+.4f} {metric}{share}, 95 % interval {found.low:+.4f} to {found.high:+.4f}"
    word = judge(found.difference, found.significant, found.equal)
    if found.significant:
        small = f", though equal within ±{found.margin:.4f}" if found.equal else ""
        return f"{a} is {word} than {b}: {figures}{small}."
    if found.equal:
        return f"{a} equals {b} within ±{found.margin:.4f}: {figures}."
    return (
        f"{a} against {b} is {word}: {figures}; the test detects differences of {found.detectable:.4f} with "
        f"probability {POWER:g}."
    )
