import math

import ir_measures
import numpy as np
import pytest

from rexjax.errors import UserError
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
        "map_of_all": (ir_measures.AP @ k, np.ones_like(sizes)),
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


def test_those_that_are_always_computed():
    known = metrics.METRICS
    assert all(metric.name == name for name, metric in known.items())
    ranked = ["precision", "recall", "f1", "hit_rate", "ndcg", "mrr", "map", "map_of_all"]
    assert [metric.name for metric in metrics.rank_metrics(known)] == ranked
    listed = ["coverage", "gini", "mean_popularity", "novelty", "distance", "serendipity"]
    assert [metric.name for metric in metrics.list_metrics(known)] == listed
    assert list(metrics.per_user([[0]], [[0]], [[True]], (1, 5))) == [f"{name}@{k}" for k in (1, 5) for name in ranked]


@pytest.mark.parametrize("ties", ["expected", "best", "worst"])
def test_a_metric_from_ranks_is_a_function_of_the_tie_groups(ties):
    """Hits times three; the deepest cut-off comes first, another asks for more than the others."""
    thrice = metrics.RankMetric("thrice", lambda groups, k: 3 * groups.hits(k))
    beyond = metrics.RankMetric("beyond", lambda groups, k: groups.first_hit(4 * k))
    for scores, targets in TIES:
        asked = counts(scores, targets)
        found = metrics.per_user(*asked, (5, 2), ties, (thrice, beyond))
        usual = metrics.per_user(*asked, (2, 5, 8, 20), ties)
        for k in (5, 2):
            np.testing.assert_allclose(found[f"thrice@{k}"], 3 * k * usual[f"precision@{k}"], rtol=1e-12)
            np.testing.assert_allclose(found[f"beyond@{k}"], usual[f"mrr@{4 * k}"], rtol=1e-12)


def test_metrics_from_lists_get_each_cut_off_and_what_is_known_of_the_catalogue():
    lists = np.asarray([[0, 1, 2], [3, 0, -1]], np.int32)
    context = metrics.ListContext(4, popularity=np.asarray([8, 4, 2, 1]), categories=np.asarray(["a", "a", "b", ""]))
    novelty = metrics.ListMetric("novelty", lambda lists, about: about.popularity[lists[:, 0]])
    kinds = metrics.ListMetric("kinds", lambda lists, about: len(set(about.categories[lists.ravel()])))
    found = metrics.of_lists(lists, context, (1, 2), (novelty, kinds, metrics.METRICS["coverage"]))
    assert {name: value.tolist() for name, value in found.items()} == {
        "novelty@1": [8, 1],
        "kinds@1": len({"a", ""}),
        "coverage@1": 2 / 4,
        "novelty@2": [8, 1],
        "kinds@2": len({"a", ""}),
        "coverage@2": 3 / 4,
    }


@pytest.mark.parametrize(
    "kind, value, words",
    [
        ("RankMetric", 1.0, r"metric odd returned the shape \(\): let it return one number for each of 2 users"),
        ("RankMetric", [1.0], r"the shape \(1,\)"),
        ("RankMetric", [0.0, math.nan], "returned NaN or infinity"),
        ("ListMetric", [1.0, 2.0, 3.0], r"the shape \(3,\): let it return one number, or one for each of 2 users"),
        ("ListMetric", math.inf, "returned NaN or infinity"),
    ],
)
def test_a_metric_that_returns_what_it_should_not_is_named(kind, value, words):
    metric = getattr(metrics, kind)("odd", lambda *about: np.asarray(value))
    with pytest.raises(UserError, match=words):
        if kind == "RankMetric":
            metrics.per_user(np.zeros((2, 1)), np.zeros((2, 1)), np.ones((2, 1)), (1,), metrics=(metric,))
        else:
            metrics.of_lists(np.zeros((2, 1), np.int32), metrics.ListContext(3), (1,), (metric,))


@pytest.mark.parametrize("name", ["", "a@b", "ndcg", "coverage"])
def test_a_name_that_is_taken_or_cannot_be_is_refused(name):
    with pytest.raises(UserError, match=f"cannot be named '{name}': choose a name without @ that is none of precision"):
        metrics.with_metrics([metrics.RankMetric(name, lambda groups, k: groups.hits(k))])


def test_two_of_one_name_and_no_metric_at_all_are_refused():
    one = metrics.RankMetric("one", lambda groups, k: groups.hits(k))
    with pytest.raises(UserError, match="cannot be named 'one'"):
        metrics.with_metrics([one, one])
    with pytest.raises(UserError, match="'ndcg' is neither a RankMetric nor a ListMetric"):
        metrics.with_metrics(["ndcg"])


@pytest.mark.parametrize("text", ["ndcg@1", "recall@20", "mine@3"])
def test_a_name_is_split_from_its_cut_off(text):
    known = metrics.with_metrics([metrics.RankMetric("mine", lambda groups, k: groups.hits(k))])
    name, k = metrics.split_name(text, known, "select", 20)
    assert f"{name}@{k}" == text


@pytest.mark.parametrize("text", ["ndgc@10", "ndcg", "ndcg@0", "ndcg@-1", "ndcg@x", "ndcg@21", "coverage@10", ""])
def test_what_cannot_select_is_one_sentence_that_lists_what_can(text):
    with pytest.raises(UserError) as caught:
        metrics.split_name(text, metrics.METRICS, "evaluate.select", 20)
    ranked = "precision, recall, f1, hit_rate, ndcg, mrr, map, map_of_all"
    expected = f"name one of {ranked}, then @ and a cut-off from 1 to the catalogue's 20 items"
    assert str(caught.value) == f"evaluate.select is {text!r}: {expected}"


@pytest.mark.parametrize("ks, wrong", [((1, 21, 30), 21), ((0,), 0)])
def test_cut_offs_lie_in_the_catalogue(ks, wrong):
    metrics.check_cutoffs((1, 20), 20, "ks")
    with pytest.raises(UserError, match=f"ks has the cut-off {wrong}: the metrics .precision.* from 1 to .* 20 items"):
        metrics.check_cutoffs(ks, 20, "ks")
