import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.evaluation import exposure, metrics, models, ranking
from rexjax.models.scorer import Query, Scorer, dot_product, score_matrix

U, N, D, L = 300, 40, 4, 8  # more users than are asked for at a time


def requests_of(seed: int, users: int = U) -> ranking.Requests:
    rng = np.random.default_rng(seed)
    picked = rng.permuted(np.tile(np.arange(N), (users, 1)), axis=1)
    seen = [row[3 : 3 + rng.integers(0, 9)] for row in picked]
    return ranking.Requests(
        rng.integers(0, N, (users, L)).astype(np.int32), *ranking.ragged(seen), *ranking.ragged(picked[:, :2])
    )


def linear(seed: int) -> Scorer:
    """Small integers, so that scores are exact."""
    rows = jnp.asarray(np.random.default_rng(seed).integers(-3, 4, (N, D)), jnp.float32)

    def encode(histories: jax.Array) -> jax.Array:
        return rows[histories[:, -1]] + 2 * rows[histories[:, -2]]

    return dot_product(encode, rows)


def scores_of(scorer: Scorer, asked: ranking.Requests) -> np.ndarray:
    return np.asarray(scorer.encode(scorer.state, Query(jnp.asarray(asked.histories))) @ scorer.state.T)


def best_unseen(scores: np.ndarray, asked: ranking.Requests, k: int) -> np.ndarray:
    """The slow twin: whole rows sorted, ties by id, -1 where nothing is left."""
    scores = scores.astype(np.float64)
    for user, row in enumerate(scores):
        row[asked.seen_items[asked.seen_offsets[user] : asked.seen_offsets[user + 1]]] = -np.inf
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.where(np.isneginf(np.take_along_axis(scores, ids, 1)), -1, ids)


@pytest.mark.parametrize("k", [1, 10, N])
def test_lists_are_the_best_that_are_not_seen(k):
    asked, scorer = requests_of(0), linear(1)
    np.testing.assert_array_equal(models.top_lists(scorer, asked, k), best_unseen(scores_of(scorer, asked), asked, k))


def test_lists_of_a_model_without_vectors():
    asked = requests_of(2)
    scores = np.random.default_rng(3).integers(0, 9, (U, N)).astype(np.float32)
    by_row = asked._replace(histories=np.arange(U, dtype=np.int32)[:, None])
    found = models.top_lists(score_matrix(scores), by_row, 7)
    np.testing.assert_array_equal(found, best_unseen(scores, asked, 7))


def test_quality_is_that_of_ranks_and_of_lists_on_each_part():
    asked, scorer = {"valid": requests_of(4, 50), "test": requests_of(5)}, linear(6)
    results = models.quality_of("linear", scorer, asked, (1, 10))
    assert list(results) == ["valid", "test"]
    for part, result in results.items():
        ranked = ranking.evaluate(scorer, asked[part], ks=(1, 10))
        lists = best_unseen(scores_of(scorer, asked[part]), asked[part], 10)
        shares = {f"coverage@{k}": len(set(lists[:, :k].ravel()) - {-1}) / N for k in (1, 10)}
        uneven = {f"gini@{k}": exposure.gini(lists[:, :k], metrics.ListContext(N)) for k in (1, 10)}
        assert result.means == ranked.means | shares | uneven and result.spread == ranked.spread
        for name, value in ranked.per_user.items():
            np.testing.assert_array_equal(result.per_user[name], value)


def first(groups, k):
    return (groups.above[:, 0] < k).astype(float)


def popular(lists, context):
    return context.popularity[lists].mean(1)


def test_further_metrics_of_both_kinds():
    asked, scorer = {"test": requests_of(7)}, linear(8)
    popularity = np.random.default_rng(9).integers(0, 99, N)
    known = {"first": metrics.RankMetric("first", first), "popular": metrics.ListMetric("popular", popular)}
    result = models.quality_of("linear", scorer, asked, (5,), known, metrics.ListContext(N, popularity))["test"]
    assert set(result.means) == set(result.per_user) == {"first@5", "popular@5"}
    lists = best_unseen(scores_of(scorer, asked["test"]), asked["test"], 5)
    np.testing.assert_allclose(result.per_user["popular@5"], popularity[lists].mean(1))
    assert result.means["popular@5"] == pytest.approx(popularity[lists].mean())


def test_without_metrics_from_lists_no_list_is_made(monkeypatch):
    monkeypatch.setattr(models, "top_lists", None)
    known = {"recall": metrics.METRICS["recall"]}
    result = models.quality_of("linear", linear(10), {"test": requests_of(11, 9)}, (3,), known)["test"]
    assert set(result.means) == {"recall@3"}


@pytest.mark.parametrize("vectors", [True, False])
def test_cost_counts_the_state_the_rows_and_the_products(vectors):
    rows = jnp.ones((N, D))

    def encode(state: jax.Array, query: Query) -> jax.Array:
        return state[query.histories[:, -1]]

    def score(state: jax.Array, users: jax.Array, ids: jax.Array) -> jax.Array:
        return users @ state[ids].T

    def rows_of(state: jax.Array) -> jax.Array:
        return state

    scorer = Scorer(rows, encode, score, N, rows_of if vectors else None)
    found = models.cost_of(scorer, L, repeats=3)
    assert found["parameters"] == N * D and found["bytes_resident"] == 4 * N * D
    assert found["bytes_per_item"] == 4 * D
    assert found["flops_per_request"] - found["flops_user_encoding"] >= 2 * N * D
    assert 0 < found["p50_low_ms"] <= found["p50_ms"] <= found["p50_high_ms"] and found["p50_ms"] <= found["p99_ms"]
    assert found["encode_p50_ms"] > 0 and found["p50_ms_64"] > 0 and found["users_per_second"] > 0
    assert set(models.TIMES) < set(found)
