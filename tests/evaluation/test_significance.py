import numpy as np
import pytest

from rexjax.evaluation import significance


def pair(seed: int, users: int = 400, effect: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    b = rng.random(users)
    return b + effect + 0.1 * rng.normal(size=users), b


def test_interval_matches_the_normal_one():
    a, b = pair(0, users=5000, effect=0.01)
    interval = significance.paired_bootstrap(a, b, 0, resamples=4000)
    difference = a - b
    half = 1.96 * difference.std() / np.sqrt(len(a))
    assert interval.difference == pytest.approx(difference.mean())
    assert interval.low == pytest.approx(difference.mean() - half, abs=0.06 * half)
    assert interval.high == pytest.approx(difference.mean() + half, abs=0.06 * half)
    assert interval.relative == pytest.approx(difference.mean() / b.mean())


def test_interval_covers_the_truth_as_often_as_it_says():
    effect, trials = 0.02, 300
    intervals = [significance.paired_bootstrap(*pair(seed, 100, effect), seed, 400, 0.9) for seed in range(trials)]
    covered = sum(interval.low <= effect <= interval.high for interval in intervals)
    sigma = np.sqrt(trials * 0.9 * 0.1)
    assert abs(covered - 0.9 * trials) < 3.5 * sigma


def test_swapping_the_models_mirrors_the_interval():
    a, b = pair(1, effect=0.01)
    forth, back = significance.paired_bootstrap(a, b, 5), significance.paired_bootstrap(b, a, 5)
    np.testing.assert_allclose([forth.difference, forth.low, forth.high], [-back.difference, -back.high, -back.low])
    assert forth.p == back.p


@pytest.mark.parametrize("effect, p_low, p_high", [(0.0, 0.06, 1.0), (0.1, 0.0, 0.001), (-0.1, 0.0, 0.001)])
def test_p_and_interval_agree(effect, p_low, p_high):
    interval = significance.paired_bootstrap(*pair(2, effect=effect), 0)
    assert p_low <= interval.p <= p_high
    assert (interval.low <= 0 <= interval.high) == (effect == 0)


def test_a_model_does_not_differ_from_itself():
    _, b = pair(3)
    assert significance.paired_bootstrap(b, b, 0) == (0.0, 0.0, 0.0, 0.0, 1.0)


def test_no_relative_difference_to_zero():
    assert significance.paired_bootstrap(np.ones(5), np.zeros(5), 0, 100).relative is None


def test_same_seed_same_interval_and_blocks_do_not_matter(monkeypatch):
    a, b = pair(4)
    whole = significance.paired_bootstrap(a, b, 9, 500)
    assert whole == significance.paired_bootstrap(a, b, 9, 500)
    assert whole != significance.paired_bootstrap(a, b, 10, 500)
    monkeypatch.setattr(significance, "DRAWS_AT_ONCE", 1000)
    np.testing.assert_allclose(significance.paired_bootstrap(a, b, 9, 500)[1:3], whole[1:3], atol=2e-3)


def test_mean_with_interval():
    _, b = pair(5)
    estimate = significance.bootstrap_mean(b, 0)
    half = 1.96 * b.std() / np.sqrt(len(b))
    assert estimate.mean == pytest.approx(b.mean())
    np.testing.assert_allclose([estimate.low, estimate.high], [b.mean() - half, b.mean() + half], atol=0.1 * half)


@pytest.mark.parametrize("a, b", [([1.0], [1.0, 2.0]), ([], []), ([np.nan], [1.0]), ([[1.0]], [[1.0]])])
def test_mistakes_of_the_caller(a, b):
    with pytest.raises(ValueError):
        significance.paired_bootstrap(a, b, 0)
