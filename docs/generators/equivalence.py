"""What "keeps x % of the teacher" means: the verdict on the paired difference, and what the test could have seen.

Rows that store the comparison (``equal``, ``detectable``) show it. Of older rows the 95 % interval is known: its half
is 1.96 standard errors, and the tests follow from these (normal approximation).
"""

from typing import Any

from docs.generators.markdown import percent
from rexjax.evaluation.comparison import judge

MARGIN = 0.02
"""Equivalence margin as a share of the teacher's metric: the default of ``evaluate.margin``."""
_WITHIN, _ONE_SIDED, _POWER = 1.96, 1.645, 0.842
"""Standard errors of a 95 % interval, of a one-sided test at 5 %, and to a power of 0.8."""


def verdict(row: dict[str, Any], teacher: float) -> dict[str, str]:
    """``verdict`` and ``detects`` of a row with ``difference`` and ``interval``; nothing for rows without.

    Args:
        row: a model minus its teacher.
        teacher: the teacher's metric.
    """
    if row.get("interval") is None or row.get("difference") is None or not teacher:
        return {}
    low, high = row["interval"]
    if low == high:  # the teacher itself
        return {}
    error = (high - low) / 2 / _WITHIN
    equal = row.get("equal", abs(row["difference"]) + _ONE_SIDED * error < MARGIN * teacher)
    word = judge(row["difference"], low > 0 or high < 0, equal)
    within = ", within the margin" if equal and word != "equal" else ""
    detectable = row.get("detectable", (_WITHIN + _POWER) * error)
    return {"verdict": word + within, "detects": percent(detectable / teacher)}


def reversed_row(row: dict[str, Any]) -> dict[str, Any]:
    """B minus A, from A minus B."""
    low, high = row["interval"]
    return row | {"difference": -row["difference"], "interval": [-high, -low]}
