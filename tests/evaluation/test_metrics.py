import math

import ir_measures
import numpy as np
import pytest

from rexjax.evaluation import metrics
from tests.reference.evaluation import metrics_of_ties

KS = (1, 2, 3, 5, 10)


def counts(scores: list[float], targets: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = np.asarray(scores)
    own = scores[targets][:, None]
    return (scores > own).sum(1)[None], (scores == own).sum(1)[None] - 1, np.ones((1, len(targets)), bool)


TIES = [
    ([1, 1, 1, 1, 1], [2]),
    ([1, 1, 1, 1, 1], [0, 3]),
    ([1, 1, 1, 1, 1], [0, 3, 4]),
    ([3, 2, 2, 2, 1, 1], [1]),
    ([3, 2, 2, 2, 1, 1], [1, 3]),
    ([3, 2, 2, 2, 1, 1], [0, 2, 5]),
    ([3, 3, 2, 2, 2, 1], [1, 2, 4]),
    ([1, 2, 3, 3, 3, 3, 0], [2, 3, 0]),
    ([5, 4, 3, 2, 1, 0], [5]),
    ([1, 1], [0, 1]),
    ([-np.inf, -np.inf, 0], [0]),
    ([7], [0]),
]


@pytest.mark.parametrize("scores, targets", TIES)
@pytest.mark.parametrize("ties", ["expected", "best", "worst"])
def test_equals_brute_force_over_all_orders_of_ties(scores, targets, ties):
    values = metrics.per_user(*counts(scores, targets), KS, ties)
    expected = metrics_of_ties(scores, targets, KS, ties)
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], [value], atol=1e-12, err_msg=name)


def test_padding_and_company_change_nothing():
    """Users of 1 to 3 targets in one array, targets unsorted, agree with each of them alone; floats do as well."""
    cases = [case for case in TIES if len(case[0]) > 1]
    greater, equal = np.full((2, len(cases), 4), 77.0)
    mask = np.zeros((len(cases), 4), bool)
    for row, (scores, targets) in enumerate(cases):
        above, level, _ = counts(scores, targets[::-1])
        slots = slice(4 - len(targets), 4)
        greater[row, slots], equal[row, slots], mask[row, slots] = above, level, True
    together = metrics.per_user(greater, equal, mask, KS)
    for row, case in enumerate(cases):
        for name, value in metrics.per_user(*counts(*case), KS).items():
            np.testing.assert_allclose(together[name][row], value[0], atol=1e-14, err_msg=name)


@pytest.mark.parametrize("items, k", [(1000, 10), (1000, 1), (3416, 100), (7, 10)])
def test_constant_scorer_gets_the_score_of_a_random_order(items, k):
    values = metrics.per_user([[0]], [[items - 1]], [[True]], [k])
    reach = min(k, items)
    assert values[f"hit_rate@{k}"] == pytest.approx(reach / items)
    assert values[f"ndcg@{k}"] == pytest.approx(sum(1 / math.log2(r + 1) for r in range(1, reach + 1)) / items)
    assert values[f"mrr@{k}"] == pytest.approx(sum(1 / r for r in range(1, reach + 1)) / items)
    assert values[f"map@{k}"] == pytest.approx(values[f"mrr@{k}"])


def test_huge_tie_group_neither_overflows_nor_cancels():
    items, relevant, k = 10_000_000, 3, 10
    values = metrics.per_user(np.zeros((1, 3)), np.full((1, 3), items - 1), np.ones((1, 3)), [k])
    none = math.prod((items - relevant - i) / (items - i) for i in range(k))
    assert values[f"hit_rate@{k}"] == pytest.approx(1 - none, rel=1e-8)
    assert values[f"recall@{k}"] == pytest.approx(k / items)


@pytest.mark.parametrize(
    "greater, k, expected", [(0, 10, 1.0), (1, 10, 1 / math.log2(3)), (9, 10, 1 / math.log2(11)), (10, 10, 0.0)]
)
def test_ndcg_of_one_target_is_its_discount(greater, k, expected):
    assert metrics.per_user([[greater]], [[0]], [[True]], [k])[f"ndcg@{k}"] == pytest.approx(expected)


def test_agrees_with_ir_measures_on_rankings_without_ties():
    rng = np.random.default_rng(0)
    users, items, k = 60, 80, 10
    sizes = rng.integers(1, 16, users)
    greater, mask = np.zeros((users, 15), int), np.arange(15)[None, :] < sizes[:, None]
    qrels, run = {}, {}
    for user in range(users):
        scores = rng.permutation(items)
        targets = rng.choice(items, sizes[user], replace=False)
        greater[user, : sizes[user]] = items - 1 - scores[targets]
        qrels[str(user)] = {str(item): 1 for item in targets}
        run[str(user)] = {str(item): float(scores[item]) for item in range(items)}
    values = metrics.per_user(greater, np.zeros_like(greater), mask, [k])
    # ir_measures divides average precision by T_u, and lets the ideal DCG@k stop at k as this project does
    theirs = {
        "ndcg": (ir_measures.nDCG @ k, 1),
        "precision": (ir_measures.P @ k, 1),
        "recall": (ir_measures.R @ k, 1),
        "mrr": (ir_measures.RR @ k, 1),
        "hit_rate": (ir_measures.Success @ k, 1),
        "map": (ir_measures.AP @ k, sizes / np.minimum(sizes, k)),
    }
    for name, (measure, factor) in theirs.items():
        found = {int(row.query_id): row.value for row in ir_measures.iter_calc([measure], qrels, run)}
        expected = np.array([found[user] for user in range(users)]) * factor
        np.testing.assert_allclose(values[f"{name}@{k}"], expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("mask, ks", [([[False]], [1]), ([[True]], [0])])
def test_rejects_users_without_targets_and_cutoffs_below_one(mask, ks):
    with pytest.raises(ValueError):
        metrics.per_user([[0]], [[0]], mask, ks)


def test_mean_over_users():
    assert metrics.mean({"ndcg@10": np.array([0.0, 1.0, 0.5])}) == {"ndcg@10": 0.5}


@pytest.mark.parametrize("lists, expected", [([[0, 1], [1, 2]], 3 / 4), ([[0, -1], [0, -1]], 1 / 4), ([[-1, -1]], 0.0)])
def test_coverage(lists, expected):
    assert metrics.coverage(np.array(lists), 4) == expected
