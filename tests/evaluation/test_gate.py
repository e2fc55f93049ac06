import json

import numpy as np
import pytest
from scipy import stats

from rexjax.errors import UserError
from rexjax.evaluation.gate import Margins, Side, decide, users_needed

RNG = np.random.default_rng(0)
BASE = RNG.random(3000)
NOISE = RNG.normal(0, 0.05, 3000)
HALF = np.where(np.arange(3000) % 2, "odd", "even")


@pytest.mark.parametrize(
    ("champion", "challenger", "failed"),
    [
        ({}, {"shift": 0.02}, []),
        ({}, {"shift": 0.0}, []),
        ({}, {"shift": -0.02}, ["quality"]),
        ({}, {"shift": 0.05, "odd": -0.09}, ["segments"]),
        ({"cost": {"flops_per_request": 10.0}}, {"cost": {"flops_per_request": 12.4}}, []),
        ({"cost": {"bytes_resident": 10.0}}, {"cost": {"bytes_resident": 12.6}}, ["cost"]),
        ({"cost": {"bytes_resident": 10.0}}, {"cost": {}}, []),
        ({"calibration": 0.05}, {"calibration": 0.069}, []),
        ({"calibration": 0.05}, {"calibration": 0.071}, ["calibration"]),
        ({"coverage": 0.5}, {"coverage": 0.45}, []),
        ({"coverage": 0.5}, {"coverage": 0.44}, ["coverage"]),
        ({"coverage": 0.5}, {"coverage": None}, []),
    ],
)
def test_each_check_refuses_what_it_is_for(champion, challenger, failed):
    shift, odd = (challenger.pop(name, 0.0) for name in ("shift", "odd"))
    moved = BASE + NOISE * 0.1 + shift + odd * (HALF == "odd")
    decision = decide(Side(BASE, **champion), Side(moved, **challenger), {"half": HALF})
    checks = {name: found["passed"] for name, found in decision.numbers.items() if name != "margins"}
    assert [name for name, passed in checks.items() if not passed] == failed
    assert decision.promote == (not failed) and len(decision.reasons) == (len(failed) or len(checks))
    assert json.loads(json.dumps(decision.as_dict()))["promote"] == decision.promote
    assert all(reason.endswith(".") for reason in decision.reasons)


def test_the_bounds_are_those_of_t_tests():
    moved = BASE + NOISE - 0.006
    numbers = decide(Side(BASE), Side(moved), {"half": HALF}, Margins(quality=0.02, segment=0.01)).numbers
    tested = stats.ttest_1samp(moved - 0.98 * BASE, 0, alternative="greater").confidence_interval(0.95)
    assert numbers["quality"]["bound"] == pytest.approx(tested.low)
    for row in numbers["segments"]["rows"]:
        inside = row["value"] == HALF
        p = stats.ttest_1samp((moved - 0.99 * BASE)[inside], 0, alternative="less").pvalue
        assert row["p"] == pytest.approx(p) and row["users"] == inside.sum()
    ordered = sorted(row["p"] for row in numbers["segments"]["rows"])
    assert min(row["p_adjusted"] for row in numbers["segments"]["rows"]) == pytest.approx(min(2 * ordered[0], 1))


def test_many_segments_of_a_sound_challenger_raise_no_alarm():
    segments = {f"segment {number}": RNG.integers(0, 8, 3000) for number in range(10)}
    alarms = 0
    for _ in range(60):
        moved = 0.95 * BASE + RNG.normal(0, 0.2, 3000)  # each segment has lost exactly the margin
        alarms += not decide(Side(BASE), Side(moved), segments).numbers["segments"]["passed"]
    assert alarms <= stats.binom.ppf(0.999, 60, 0.05)


def test_small_parts_are_not_tested():
    few = np.where(np.arange(3000) < 29, "few", "many")
    moved = np.where(few == "few", 0, BASE)
    assert decide(Side(BASE), Side(moved), {"size": few}).numbers["segments"]["tested"] == 1


@pytest.mark.parametrize(("effect", "margin", "power"), [(0.02, 0.01, 0.8), (0.0, 0.02, 0.9)])
def test_the_power_calculation_holds(effect, margin, power):
    users, passed, rounds = users_needed(0.2, 0.5, effect, margin, power=power), 0, 400
    for _ in range(rounds):
        base = np.full(users, 0.5)
        moved = 0.5 * (1 + effect) + RNG.normal(0, 0.2, users)
        passed += decide(Side(base), Side(moved), margins=Margins(margin)).promote
    assert stats.binom.ppf(0.001, rounds, power) <= passed <= stats.binom.ppf(0.999, rounds, power)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: decide(Side(BASE), Side(BASE[1:])), "the champion has 3000, the challenger 2999"),
        (lambda: decide(Side(BASE[:1]), Side(BASE[:1])), "the same two or more users"),
        (lambda: decide(Side(BASE), Side(BASE * np.nan)), "no NaN"),
        (lambda: decide(Side(BASE), Side(BASE), {"half": HALF[1:]}), "segment 'half' has 2999 users and the test 3000"),
        (lambda: Margins(quality=0), "set quality to a number above 0"),
        (lambda: Margins(users=1), "set users to 2 or more"),
    ],
)
def test_mistakes_are_one_sentence(act, sentence):
    with pytest.raises(UserError, match=sentence):
        act()
