import itertools
from dataclasses import replace

import numpy as np
import pytest

from rexjax.evaluation import exposure, metrics
from rexjax.evaluation.metrics import ListContext
from rexjax.evaluation.ranking import Requests, ragged

N = 12
RNG = np.random.default_rng(0)
CONTEXT = ListContext(N, RNG.integers(0, 9, N), RNG.standard_normal((N, 5)).astype(np.float32))
LISTS = np.stack([RNG.permutation(N)[:4] for _ in range(30)]).astype(np.int32)
LISTS[3, 2:] = -1
LISTS[4, 1:] = -1
LISTS[5] = -1


def shown(row):
    return [int(item) for item in row if item >= 0]


def plain_gini(lists, items):
    """Half the mean absolute difference of two counts, over their mean."""
    counts = [sum(row.count(item) for row in map(shown, lists)) for item in range(items)]
    apart = sum(abs(a - b) for a, b in itertools.product(counts, counts)) / items**2
    return apart / (2 * sum(counts) / items)


def plain_distance(row, vectors):
    def cosine(a, b):
        return vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])

    pairs = list(itertools.combinations(shown(row), 2))
    return float(np.mean([1 - cosine(a, b) for a, b in pairs])) if pairs else 0.0


def test_equal_the_definitions():
    counts = CONTEXT.popularity
    bits = [-np.log2(max(n, 1) / counts.sum()) for n in counts]
    assert exposure.gini(LISTS, CONTEXT) == pytest.approx(plain_gini(LISTS, N))
    for name, of_item in (("mean_popularity", counts), ("novelty", bits)):
        expected = [np.mean([of_item[item] for item in shown(row)]) if shown(row) else 0 for row in LISTS]
        np.testing.assert_allclose(getattr(exposure, name)(LISTS, CONTEXT), expected)
    expected = [plain_distance(row, CONTEXT.vectors.astype(float)) for row in LISTS]
    np.testing.assert_allclose(exposure.distance(LISTS, CONTEXT), expected, atol=1e-6)


def plain_serendipity(row, seen, targets):
    unseen = [item for item in np.argsort(-CONTEXT.popularity, kind="stable") if item not in seen]
    return sum(item in targets and item not in unseen[: len(row)] for item in shown(row)) / len(row)


def test_serendipity_is_the_share_of_targets_that_popularity_does_not_recommend():
    picked = [RNG.permutation(N) for _ in LISTS]
    seen = [own[: RNG.integers(0, 5)].tolist() for own in picked]
    targets = [own[5 : 6 + RNG.integers(0, 4)].tolist() for own in picked]
    asked = Requests(LISTS, *ragged(seen), *ragged(targets))
    lists = np.where([np.isin(row, own) for row, own in zip(LISTS, seen, strict=True)], -1, LISTS)
    expected = [plain_serendipity(*each) for each in zip(lists, seen, targets, strict=True)]
    found = exposure.serendipity(lists, replace(CONTEXT, asked=asked))
    np.testing.assert_allclose(found, expected)
    assert found.max() > 0


def test_popularity_is_never_serendipitous():
    """Its own lists have 0, whatever was seen; lists of targets that it does not recommend have 1."""
    order = np.argsort(-CONTEXT.popularity, kind="stable")
    asked = Requests(np.zeros((2, 1), np.int32), *ragged([[order[0]], []]), *ragged([order[1:], order]))
    lists = np.stack([order[1:4], order[:3]]).astype(np.int32)
    assert exposure.serendipity(lists, replace(CONTEXT, asked=asked)).tolist() == [0, 0]
    lists = np.stack([order[4:7], order[3:6]]).astype(np.int32)
    assert exposure.serendipity(lists, replace(CONTEXT, asked=asked)).tolist() == [1, 1]


def test_bounds():
    same = np.zeros((5, 1), np.int32)
    assert exposure.gini(same, CONTEXT) == pytest.approx((N - 1) / N)
    assert exposure.gini(np.arange(N, dtype=np.int32)[:, None], CONTEXT) == pytest.approx(0)
    assert exposure.gini(np.full((2, 3), -1), CONTEXT) == 0
    silent = ListContext(N, vectors=np.zeros((N, 5), np.float32))
    np.testing.assert_allclose(exposure.distance(LISTS[:3], silent), 1)


def test_what_the_catalogue_does_not_say_is_left_out():
    found = metrics.of_lists(LISTS, ListContext(N), [2])
    assert found.keys() == {"coverage@2", "gini@2"}
    assert metrics.of_lists(LISTS, CONTEXT, [2]).keys() - found.keys() == {
        "mean_popularity@2",
        "novelty@2",
        "distance@2",
    }


def test_blocks_change_nothing(monkeypatch):
    whole = exposure.distance(LISTS, CONTEXT)
    monkeypatch.setattr("rexjax.evaluation.exposure.AT_ONCE", 60)
    np.testing.assert_array_equal(exposure.distance(LISTS, CONTEXT), whole)
