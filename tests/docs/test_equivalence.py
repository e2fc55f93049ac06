import numpy as np
import pytest

from docs.generators.equivalence import reversed_row, verdict
from rexjax.evaluation import comparison


@pytest.mark.parametrize(
    "difference, half, expected",
    [
        (0.0, 0.001, "equal"),
        (0.0, 0.01, "inconclusive"),
        (-0.05, 0.01, "worse"),
        (0.0015, 0.001, "better, within the margin"),
    ],
)
def test_the_verdict_follows_from_the_interval(difference, half, expected):
    row = {"difference": difference, "interval": [difference - half, difference + half]}
    found = verdict(row, 0.2)
    assert found == {"verdict": expected, "detects": f"{100 * half * 2.802 / 1.96 / 0.2:.1f} %"}


def test_derived_and_stored_comparisons_agree():
    rng = np.random.default_rng(0)
    teacher = rng.random(3000)
    told = comparison.compare(teacher + rng.normal(0, 0.2, 3000), teacher)
    row = {"difference": told.difference, "interval": [told.low, told.high]}
    stored = row | {"equal": told.equal, "detectable": told.detectable}
    assert verdict(row, teacher.mean()) == verdict(stored, teacher.mean())


def test_rows_without_a_difference_say_nothing_and_the_other_way_round_is_the_other_word():
    assert verdict({"interval": None, "difference": 0.1}, 1.0) == verdict({}, 1.0) == {}
    assert verdict({"interval": [0.0, 0.0], "difference": 0.0}, 1.0) == {}  # the teacher itself
    row = {"difference": 0.3, "interval": [0.2, 0.4]}
    assert [verdict(each, 1.0)["verdict"] for each in (row, reversed_row(row))] == ["better", "worse"]
