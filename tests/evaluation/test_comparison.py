import numpy as np
import pytest
from scipy import stats

from rexjax.errors import UserError
from rexjax.evaluation import comparison


def sides(rng, effect=0.0, users=600, seeds=(3, 3), seed_spread=0.002):
    """Two sides whose users are the same, and whose seeds and rests are not: [S_a, U], [S_b, U]."""
    base = np.where(rng.random(users) < 0.3, rng.random(users), 0)

    def side(count, scale):
        return base * scale + rng.normal(0, seed_spread, (count, 1)) + rng.normal(0, 0.1, (count, users))

    return side(seeds[0], 1 + effect), side(seeds[1], 1)


def plain_standard_error(a, b):
    """By loops over the definition: user effects, seeds' means and rests, one by one."""
    users = a.shape[1]
    each = [a[:, u].mean() - b[:, u].mean() for u in range(users)]
    of_users = sum((x - sum(each) / users) ** 2 for x in each) / (users - 1) / users
    freedom, means, rests = 0, 0.0, 0.0
    for side in (a, b):
        seeds = len(side)
        freedom += seeds - 1
        whole = side.mean()
        for s in range(seeds):
            means += (side[s].mean() - whole) ** 2
            for u in range(users):
                rests += (side[s, u] - side[:, u].mean() - side[s].mean() + whole) ** 2 / (users - 1)
    share = (1 / len(a) + 1 / len(b)) / freedom
    means, rests = means * share, rests * share / users
    return np.sqrt(max(of_users - rests, 0) + means)


@pytest.mark.parametrize("seeds", [(3, 3), (2, 1), (4, 2)])
def test_the_standard_error_is_that_of_the_definition(seeds):
    a, b = sides(np.random.default_rng(1), users=40, seeds=seeds)
    found, error = comparison.compare(a, b), plain_standard_error(a, b)
    half = (found.high - found.low) / 2
    freedom = next(n for n in np.arange(0.5, 2000, 0.001) if stats.t.ppf(0.975, n) * error <= half)
    assert found.difference == pytest.approx(a.mean() - b.mean()) and found.seeds == seeds and found.seeds_counted
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.difference) / error, freedom), rel=1e-2)


def test_one_seed_a_side_is_the_paired_t_test():
    a, b = (side[0] for side in sides(np.random.default_rng(2)))
    found, expected = comparison.compare(a, b), stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue) and not found.seeds_counted
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("seeds", "spread"), [((3, 3), 0.003), ((3, 3), 0.0), ((1, 1), 0.0), ((5, 2), 0.002)])
def test_intervals_cover_as_often_as_they_say_and_what_differs_is_seldom_called_equal(seeds, spread):
    rng, trials = np.random.default_rng(3), 2000
    same = [comparison.compare(*sides(rng, 0, seeds=seeds, seed_spread=spread)) for _ in range(trials)]
    apart = [comparison.compare(*sides(rng, 0.03, seeds=seeds, seed_spread=spread)) for _ in range(trials)]
    assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in same]) <= 0.97
    assert np.mean([one.equal for one in apart]) <= 0.05


def test_a_difference_of_the_detectable_size_is_seen_in_four_of_five_tries():
    rng = np.random.default_rng(4)
    noise = [rng.normal(0, 0.2, 400) for _ in range(800)]
    needed = np.median([comparison.compare(0.3 + one, np.full(400, 0.3)).detectable for one in noise])
    seen = [comparison.compare(0.3 + needed + one, np.full(400, 0.3)).low > 0 for one in noise]
    assert 0.76 < np.mean(seen) < 0.84


def test_holm_is_the_step_down_procedure():
    values = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(comparison.holm(values), [0.03, 0.06, 0.06, 0.02])
    assert comparison.holm(np.array([0.6, 0.7])).tolist() == [1, 1] and comparison.holm(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    ("shift", "spread", "words"),
    [
        (0.05, 0.1, "A is better than B: +0.05"),
        (-0.05, 0.1, "A is worse than B: -0.05"),
        (0.001, 0.01, "A is better than B: +0.0010 NDCG@10 (+0.3%), 95 % interval .* though equal within ±0.0060"),
        (0.0, 0.01, "A equals B within ±0.0060"),
        (0.0, 1.0, "A against B is inconclusive: .* the test detects differences of 0.0"),
    ],
)
def test_the_verdict_is_in_words(shift, spread, words):
    noise = np.random.default_rng(5).normal(0, spread, 5000)
    noise -= noise.mean()
    found = comparison.compare(0.3 + shift + noise, np.full(5000, 0.3))
    pattern = words.replace("(+0.3%)", r"\(\+0.3%\)").replace("A is better than B: +", r"A is better than B: \+")
    with pytest.raises(AssertionError, match=pattern):
        raise AssertionError(comparison.verdict(found, "A", "B", "NDCG@10"))


def test_what_cannot_be_compared():
    with pytest.raises(UserError, match="the margin is 0: set it above 0"):
        comparison.compare(np.ones(3), np.ones(3), margin=0)
    for a, b in ((np.ones(3), np.ones(4)), (np.ones(1), np.ones(1)), (np.array([1, np.nan]), np.ones(2))):
        with pytest.raises(ValueError, match="the same users, two or more, and no NaN"):
            comparison.compare(a, b)
    assert comparison.compare(np.ones(3), np.ones(3)).p == 1 and comparison.compare(np.ones(3), np.zeros(3)).p == 0
