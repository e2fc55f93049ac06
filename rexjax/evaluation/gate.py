"""Whether a challenger may replace the champion: quality, segments, cost, calibration, coverage.

Quality passes where the one-sided 95 % bound of the paired difference lies above minus a margin (non-inferiority,
Schuirmann 1987). A segment fails where it is shown to have lost more than its own margin; the p values of all segments
are adjusted together (Holm 1979), so that a sound challenger fails by chance at most once in twenty times.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtr

from rexjax.errors import UserError, check_least, check_range
from rexjax.evaluation.comparison import LEVEL, POWER, compare, holm

COSTS = "flops_per_request", "bytes_resident"
"""Costs that do not depend on what else a machine does."""


@dataclass(frozen=True)
class Margins:
    """How much worse a challenger may be. Set them before you look at results."""

    quality: float = 0.01
    """Share of the champion's mean. The interval must lie above minus this."""
    segment: float = 0.05
    """Share of the champion's mean in a segment. No segment may be shown to lose more."""
    cost: float = 0.25
    """Share by which FLOPs of a request and resident bytes may grow."""
    calibration: float = 0.02
    """How much the calibration error may grow."""
    coverage: float = 0.1
    """Share of the champion's coverage of the catalogue that may be lost."""
    users: int = 30
    """A smaller part of a segment is not tested."""

    def __post_init__(self) -> None:
        check_range(self, "the gate", "a number above 0", _is_positive, "quality", "segment")
        check_least(self, "the gate", 0, "cost", "calibration", "coverage")
        check_least(self, "the gate", 2, "users")


def _is_positive(value: float) -> bool:
    return value > 0


class Side(NamedTuple):
    """What the gate knows of a model."""

    quality: np.ndarray
    """float [U], a metric of each user; more is better."""
    cost: Mapping[str, float] = {}
    """By name, as in ``metrics.json``."""
    calibration: float | None = None
    """Expected calibration error; None: not measured."""
    coverage: float | None = None
    """Share of the catalogue that is recommended; None: not measured."""


class Check(NamedTuple):
    """One thing that is asked of a challenger."""

    name: str
    passed: bool
    words: str
    """One sentence."""
    numbers: dict[str, Any]
    """What it rests on, as plain values."""


@dataclass(frozen=True)
class Decision:
    """What the gate says."""

    promote: bool
    """Whether all checks have passed."""
    reasons: tuple[str, ...]
    """Sentences: what failed, or, where nothing failed, what was checked."""
    numbers: dict[str, Any]
    """Figures of each check by its name, and the margins; plain JSON values."""

    @property
    def words(self) -> str:
        """All reasons."""
        return " ".join(self.reasons)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"promote": self.promote, "reasons": list(self.reasons), "numbers": self.numbers}


def decide(
    champion: Side,
    challenger: Side,
    segments: Mapping[str, np.ndarray] | None = None,
    margins: Margins | None = None,
) -> Decision:
    """Whether ``challenger`` may replace ``champion``.

    Args:
        champion: what is served, on U users.
        challenger: what may replace it, on the same users.
        segments: by name, the part of each user, str or int [U].
        margins: None: those of ``Margins()``.

    Raises:
        UserError: the sides have other numbers of users, fewer than two, or a NaN; or a segment has other users.

    >>> import numpy as np
    >>> base = np.random.default_rng(0).random(5000)
    >>> decide(Side(base), Side(base + 0.01)).promote, decide(Side(base), Side(base - 0.02)).promote
    (True, False)
    """
    margins, segments = margins or Margins(), segments or {}
    _check_users(champion.quality, challenger.quality, segments)
    checks = [
        _quality(champion.quality, challenger.quality, margins),
        *_segments(champion.quality, challenger.quality, segments, margins),
        *_costs(champion.cost, challenger.cost, margins.cost),
        *_calibration(champion.calibration, challenger.calibration, margins.calibration),
        *_coverage(champion.coverage, challenger.coverage, margins.coverage),
    ]
    failed = [check.words for check in checks if not check.passed]
    numbers = {check.name: {"passed": check.passed} | check.numbers for check in checks}
    reasons = tuple(failed or (check.words for check in checks))
    return Decision(not failed, reasons, numbers | {"margins": asdict(margins)})


def _check_users(champion: np.ndarray, challenger: np.ndarray, segments: Mapping[str, np.ndarray]) -> None:
    users = len(champion)
    if len(challenger) != users or users < 2 or np.isnan(champion).any() or np.isnan(challenger).any():
        raise UserError(
            f"the gate needs the same two or more users on both sides, and no NaN: the champion has {users}, the "
            f"challenger {len(challenger)}"
        )
    for name, parts in segments.items():
        if len(parts) != users:
            raise UserError(f"segment {name!r} has {len(parts)} users and the test {users}: pass one value a user")


def _quality(champion: np.ndarray, challenger: np.ndarray, margins: Margins) -> Check:
    plain = compare(challenger, champion)
    against = compare(challenger, (1 - margins.quality) * np.asarray(champion, np.float64))
    passed = against.equal_low > 0
    word = "keeps" if passed else "may lose more than"
    share = "" if plain.relative is None else f" ({plain.relative:+.1%})"
    words = (
        f"Quality {word} the margin of {margins.quality:.1%}: the difference is {plain.difference:+.4f}{share}, "
        f"95 % interval {plain.low:+.4f} to {plain.high:+.4f}, over {len(champion):,} users."
    )
    figures = {name: getattr(plain, name) for name in ("difference", "low", "high", "relative", "p", "detectable")}
    return Check("quality", passed, words, figures | {"bound": against.equal_low, "users": len(champion)})


def _segments(
    champion: np.ndarray, challenger: np.ndarray, segments: Mapping[str, np.ndarray], margins: Margins
) -> list[Check]:
    rows = [
        _part(champion, challenger, parts == value, margins.segment) | {"segment": name, "value": str(value)}
        for name, parts in segments.items()
        for value in np.unique(parts)
        if (parts == value).sum() >= margins.users
    ]
    if not rows:
        return []
    for row, adjusted in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
        row["p_adjusted"] = float(adjusted)
    worst = sorted((row for row in rows if row["p_adjusted"] < 1 - LEVEL), key=_relative)
    words = f"No segment of {len(rows)} is shown to lose more than {margins.segment:.0%}."
    if worst:
        named = "; ".join(f"{row['segment']}: {row['value']} ({_relative(row):+.1%})" for row in worst[:3])
        words = f"{len(worst)} of {len(rows)} segments lose more than {margins.segment:.0%}: {named}."
    return [Check("segments", not worst, words, {"tested": len(rows), "rows": rows})]


def _part(champion: np.ndarray, challenger: np.ndarray, inside: np.ndarray, margin: float) -> dict[str, Any]:
    """One part of a segment: its difference, and p of the hypothesis that it lost no more than the margin."""
    old, new = champion[inside].astype(np.float64), challenger[inside].astype(np.float64)
    lost = new - (1 - margin) * old
    error, mean = float(lost.std(ddof=1)) / len(lost) ** 0.5, float(lost.mean())
    p = float(stdtr(len(lost) - 1, mean / error)) if error else float(mean >= 0)
    base, difference = float(old.mean()), float((new - old).mean())
    return {
        "users": len(lost),
        "difference": difference,
        "relative": difference / base if base else None,
        "p": p,
    }


def _relative(row: dict[str, Any]) -> float:
    return row["relative"] if row["relative"] is not None else 0.0


def _costs(champion: Mapping[str, float], challenger: Mapping[str, float], margin: float) -> list[Check]:
    ratios = {name: challenger[name] / champion[name] for name in COSTS if champion.get(name) and name in challenger}
    if not ratios:
        return []
    high = {name: ratio for name, ratio in ratios.items() if ratio > 1 + margin}
    told = ", ".join(f"{name.replace('_', ' ')} × {ratio:.2f}" for name, ratio in (high or ratios).items())
    word = "exceeds" if high else "stays within"
    return [Check("cost", not high, f"Cost {word} × {1 + margin:.2f}: {told}.", ratios)]


def _calibration(champion: float | None, challenger: float | None, margin: float) -> list[Check]:
    if champion is None or challenger is None:
        return []
    passed = challenger - champion <= margin
    word = "stays within" if passed else "grows by more than"
    words = f"The calibration error {word} {margin:.3f}: {champion:.3f} before, {challenger:.3f} now."
    return [Check("calibration", passed, words, {"champion": champion, "challenger": challenger})]


def _coverage(champion: float | None, challenger: float | None, margin: float) -> list[Check]:
    if champion is None or challenger is None:
        return []
    passed = challenger >= (1 - margin) * champion
    word = "keeps" if passed else "falls below"
    words = f"Coverage {word} {1 - margin:.0%} of the champion's: {champion:.1%} before, {challenger:.1%} now."
    return [Check("coverage", passed, words, {"champion": champion, "challenger": challenger})]


def users_needed(
    deviation: float, mean: float, effect: float, margin: float, *, tests: int = 1, power: float = POWER
) -> int:
    """Users with which a true relative difference of ``effect`` passes a bound at ``-margin`` with this power.

    Args:
        deviation: of the difference of a user's metric, between two such models.
        mean: of the champion's metric.
        effect: relative difference, such as 0.02; for a loss in a segment, minus the loss.
        margin: of the gate.
        tests: how many are made together; Holm's first step divides by it.
        power: probability of the right answer.

    Returns:
        Users of the test, or of the segment's part.

    >>> users_needed(deviation=0.2, mean=0.15, effect=0.02, margin=0.01)
    12213
    """
    distance = abs(effect + margin) * mean
    quantiles = ndtri(1 - (1 - LEVEL) / tests) + ndtri(power)
    return int(np.ceil((quantiles * deviation / distance) ** 2))
