import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.evaluation import metrics, ranking
from rexjax.models.scorer import Query, Scorer, dot_product, score_matrix

U, N, D, L = 83, 101, 12, 40


def requests_of(seed: int, users: int = U, items: int = N, targets: int = 3) -> ranking.Requests:
    rng = np.random.default_rng(seed)
    histories = np.full((users, L), -1, np.int32)
    seen, relevant = [], []
    for user in range(users):
        length = rng.integers(0, L + 1) if user else 0
        histories[user, L - length :] = rng.integers(0, items, length)
        picked = rng.permutation(items)
        count = rng.integers(1, targets + 1)
        relevant.append(picked[:count])
        seen.append(np.repeat(picked[count : count + rng.integers(0, 30)], 2))  # twice each: excluded once
    return ranking.Requests(histories, *ranking.ragged(seen), *ranking.ragged(relevant))


def table(seed: int, items: int = N) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(items, D)), jnp.float32)


def encoder(rows: jax.Array):
    """Decayed sum of history by distance from the end, so that cutting padding off on the left changes nothing."""

    @jax.jit
    def encode(histories: jax.Array) -> jax.Array:
        decay = 0.9 ** jnp.arange(histories.shape[1])[::-1]
        present = jnp.where(histories >= 0, decay[None, :], 0.0)
        return jnp.einsum("bl,bld->bd", present, rows[jnp.maximum(histories, 0)]) + 0.1

    return encode


def ones(histories: jax.Array) -> jax.Array:
    return jnp.ones((len(histories), 1))


def lists(ids: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    return np.split(ids, offsets[1:-1])


def slow_twin(scores: np.ndarray, requests: ranking.Requests, ks) -> dict[str, np.ndarray]:
    """Sorts whole score rows; for scores without ties."""
    rows = []
    relevant = lists(requests.target_items, requests.target_offsets)
    for user, seen in enumerate(lists(requests.seen_items, requests.seen_offsets)):
        kept = np.setdiff1d(np.arange(scores.shape[1]), seen)
        order = kept[np.argsort(-scores[user, kept], kind="stable")]
        places = np.flatnonzero(np.isin(order, relevant[user]))[None]
        rows.append(metrics.per_user(places, np.zeros_like(places), np.ones_like(places), ks))
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("batch, chunk", [(7, None), (64, 7), (83, 50), (256, 100), (1, 101), (64, 1)])
def test_equals_sorting_whole_rows(batch, chunk):
    requests, rows = requests_of(1), table(2)
    result = ranking.evaluate(dot_product(encoder(rows), rows), requests, ks=(1, 5, 20), batch=batch, chunk=chunk)
    users = encoder(rows)(requests.histories)
    expected = slow_twin(np.asarray(users @ rows.T), requests, (1, 5, 20))
    for name, value in expected.items():
        np.testing.assert_allclose(result.per_user[name], value, atol=1e-12, err_msg=name)
        assert result.means[name] == pytest.approx(value.mean())
    assert result.spread == {}


def test_batch_size_changes_nothing():
    """RecBole#1556: there, scores depended on the size of the evaluation batch."""
    requests, rows = requests_of(3), table(4)
    seven, many = (ranking.evaluate(dot_product(encoder(rows), rows), requests, batch=batch) for batch in (7, 64))
    assert seven.means == many.means
    for name, value in seven.per_user.items():
        np.testing.assert_array_equal(value, many.per_user[name], err_msg=name)


@pytest.mark.parametrize("users, chunk", [(2, None), (3, 7), (64, 10), (64, 64), (256, None)])
def test_equal_item_rows_tie_wherever_they_lie(users, chunk):
    """Four rows in different chunks and SIMD tails have one score, to the bit."""
    rows = table(5).at[jnp.array([40, 99, N - 1])].set(table(5)[0])
    vectors = table(6, users)
    seen = jnp.full((users, 8), -1).at[:, :2].set(99)
    targets = jnp.tile(jnp.array([[0, N - 1, -1, 7]]), (users, 1))
    ranks = ranking.count_ranks(vectors, rows, seen, targets, chunk=chunk)
    np.testing.assert_array_equal(ranks.equal, np.tile([[2, 2, 0, 0]], (users, 1)))
    np.testing.assert_array_equal(ranks.greater[:, 0], ranks.greater[:, 1])
    scores = np.delete(np.asarray(vectors @ rows.T), 99, axis=1)
    np.testing.assert_array_equal(ranks.greater[:, 3], (scores > scores[:, 7:8]).sum(1))


@pytest.mark.parametrize("chunk", [None, 1, 10])
def test_constant_scorer_gets_what_a_random_order_gets(chunk):
    requests = requests_of(7, targets=1)
    result = ranking.evaluate(dot_product(ones, jnp.ones((N, 1))), requests, ks=(10,), chunk=chunk)
    candidates = np.array([N - len(set(x)) for x in lists(requests.seen_items, requests.seen_offsets)])
    np.testing.assert_allclose(result.per_user["hit_rate@10"], 10 / candidates)
    assert result.spread["hit_rate@10"] == (1.0, 0.0)


def test_popularity_is_a_model_of_width_one():
    counts = jnp.asarray(np.random.default_rng(8).permutation(N), jnp.float32)[:, None]
    requests = requests_of(9)
    result = ranking.evaluate(dot_product(ones, counts), requests, ks=(5,))
    expected = slow_twin(np.tile(counts.T, (U, 1)), requests, (5,))
    np.testing.assert_allclose(result.per_user["ndcg@5"], expected["ndcg@5"])


@pytest.mark.parametrize("value", [-np.inf, np.inf])
def test_infinite_scores_rank_and_excluded_items_do_not_tie_with_them(value):
    rows = jnp.zeros((N, 1)).at[:4].set(value)
    ranks = ranking.count_ranks(jnp.ones((2, 1)), rows, jnp.array([[0, 50], [1, -1]]), jnp.array([[3], [3]]))
    above = np.array([N - 4 - 1, N - 4]) if value < 0 else np.zeros(2)
    np.testing.assert_array_equal(ranks.greater[:, 0], above)
    np.testing.assert_array_equal(ranks.equal[:, 0], [2, 2])


@pytest.mark.parametrize("chunk", [None, 7])
@pytest.mark.parametrize("where", ["user", "item", "seen item"])
def test_nan_is_an_error_never_a_rank(where, chunk):
    requests, rows = requests_of(10), table(11)
    encode = encoder(rows)
    broken = rows.at[N - 1 if where == "item" else requests.seen_items[0], 0].set(jnp.nan)
    if where == "user":

        def encode(h):
            return jnp.full((len(h), D), jnp.nan)

    with pytest.raises(UserError, match="scores are NaN"):
        ranking.evaluate(dot_product(encode, rows if where == "user" else broken), requests, chunk=chunk)


@pytest.mark.parametrize(
    "seen, targets, message",
    [
        ([[1], [2]], [[1], [3]], "1 targets are among"),
        ([[1], [2]], [[0, 0], [3]], "same target twice"),
        ([[1], [2]], [[], [3]], "1 of 2 users have no target"),
        ([[1], [N]], [[0], [3]], "not in"),
        ([[1], []], [[0], [-1]], "not in"),
        ([[1]], [[0], [3]], "offsets"),
    ],
)
def test_mistakes_of_the_caller(seen, targets, message):
    requests = ranking.Requests(np.full((2, 4), -1, np.int32), *ranking.ragged(seen), *ranking.ragged(targets))
    with pytest.raises(ValueError, match=message):
        ranking.evaluate(dot_product(encoder(table(0)), table(0)), requests)


def test_histories_are_cut_to_a_few_lengths():
    lengths = []

    def encode(histories: jax.Array) -> jax.Array:
        lengths.append(histories.shape[1])
        return jnp.ones((len(histories), 1))

    ranking.evaluate(dot_product(encode, jnp.ones((N, 1))), requests_of(12), batch=8)
    assert set(lengths) == {8, 16, 32, L}


@pytest.mark.parametrize("size, expected", [(0, 8), (8, 8), (9, 16), (16, 16), (17, 32), (100, 128)])
def test_widths_are_powers_of_two(size, expected):
    ids, offsets = ranking.ragged([[], range(size)])
    padded = ranking.padded(ids, offsets, np.array([0, 1]), least=8)
    assert padded.shape == (2, expected)
    np.testing.assert_array_equal(padded, [[-1] * expected, [*range(size), *[-1] * (expected - size)]])


@pytest.mark.parametrize("users, expected", [(943, 236), (256, 256), (257, 129), (3, 3), (1, 2)])
def test_batches_are_about_evenly_full(users, expected):
    sizes = []

    def encode(histories: jax.Array) -> jax.Array:
        sizes.append(len(histories))
        return jnp.ones((len(histories), 1))

    requests = ranking.Requests(
        np.zeros((users, 8), np.int32), *ranking.ragged([[]] * users), *ranking.ragged([[1]] * users)
    )
    ranking.evaluate(dot_product(encode, jnp.ones((N, 1))), requests, ks=(1,))
    assert set(sizes) == {expected}


def without_vectors(encode, rows: jax.Array) -> Scorer:
    """The same scores as ``dot_product(encode, rows)``, asked for item by item."""

    def encode_query(state: jax.Array, query: Query) -> jax.Array:
        return encode(query.histories)

    def score(state: jax.Array, users: jax.Array, ids: jax.Array) -> jax.Array:
        return jnp.einsum("bd,nd->bn", users, state[ids], precision="highest")

    return Scorer(rows, encode_query, score, len(rows))


@pytest.mark.parametrize("batch, chunk", [(64, None), (83, 7), (40, 100), (40, 101)])
def test_a_model_without_vectors_gets_what_one_with_the_same_scores_gets(batch, chunk):
    """Integer vectors: the scores are exact, and many of them tie."""
    rows = jnp.asarray(np.random.default_rng(13).integers(-1, 2, (N, 3)), jnp.float32)

    def encode(histories: jax.Array) -> jax.Array:
        return rows[histories[:, -1]] + 1

    requests = requests_of(14)
    found, expected = (
        ranking.evaluate(make(encode, rows), requests, ks=(1, 5, 20), batch=batch, chunk=chunk)
        for make in (without_vectors, dot_product)
    )
    assert found.means == expected.means and found.spread == expected.spread and found.spread
    for name, value in expected.per_user.items():
        np.testing.assert_array_equal(found.per_user[name], value, err_msg=name)


@pytest.mark.parametrize("chunk", [None, 1, 7, 100, N])
def test_count_ranks_of_counts_by_the_definition_whatever_the_chunk(chunk):
    rng = np.random.default_rng(15)
    scores = rng.integers(0, 5, (4, N)).astype(np.float32)
    seen = np.array([[3, 3, -1], [N - 1, 0, -1], [-1, -1, -1], [5, 6, 7]])
    targets = np.array([[0, N - 1], [4, -1], [50, 51], [8, 100]])
    ranks = ranking.count_ranks_of(score_matrix(scores), jnp.asarray(scores), seen, targets, chunk=chunk)
    for user in range(4):
        others = np.setdiff1d(np.arange(N), seen[user])
        for column, target in enumerate(targets[user]):
            own = scores[user, target]
            above, level = (scores[user, others] > own).sum(), (scores[user, others] == own).sum() - 1
            expected = (above, level) if target >= 0 else (0, 0)
            assert (ranks.greater[user, column], ranks.equal[user, column]) == expected
    assert not ranks.nan


def test_nan_among_the_scores_of_a_model_without_vectors_is_an_error():
    scores = np.zeros((U, N), np.float32)
    scores[U - 1, 0] = np.nan
    requests = requests_of(16)._replace(histories=np.arange(U, dtype=np.int32)[:, None])
    with pytest.raises(UserError, match="scores are NaN"):
        ranking.evaluate(score_matrix(scores), requests)


def test_the_rows_of_a_score_matrix_are_its_users():
    requests, rows = requests_of(17), table(18)
    scores = np.asarray(encoder(rows)(requests.histories) @ rows.T)
    one_item = requests._replace(histories=np.arange(U, dtype=np.int32)[:, None])
    result = ranking.evaluate(score_matrix(scores), one_item, ks=(1, 5))
    for name, value in slow_twin(scores, requests, (1, 5)).items():
        np.testing.assert_allclose(result.per_user[name], value, atol=1e-12, err_msg=name)
