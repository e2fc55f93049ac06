from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rexjax.compression.quantize import quantize
from rexjax.config import Pooled, Transformer
from rexjax.embedding.quantized import dequantize_tree
from rexjax.embedding.rows import gather
from rexjax.families.popularity import Popularity
from rexjax.families.text import TextCosine
from rexjax.models import recommender
from rexjax.models.layers import normalize
from rexjax.models.scorer import Query, Scorer, dot_product, score_matrix
from rexjax.models.served import Served
from rexjax.retrieval.answer import answer, top_k_of_scores

N, D, L = 15, 8, 6
MODELS = {"transformer": Transformer(width=D, layers=1, heads=2), "pooled": Pooled(width=D, profiles=2, hidden=6)}
HISTORIES = np.asarray([[-1, -1, -1, 4, 2, 9], [0, 1, 2, 3, 4, 5]], np.int32)


def fitted(name: str) -> Served:
    """The state of a model that was never trained."""
    model = MODELS[name].recommender(L)
    params = jax.tree.map(jnp.asarray, nn.unbox(model.init(jax.random.key(0), 3)))
    params["rows"] = 0.02 * jax.random.normal(jax.random.key(1), (N, D))
    text = np.random.default_rng(0).normal(size=(128, 3)).astype(np.float32)
    return recommender.serve(model, params, text, N)


def ask(model: Scorer, histories, k: int, exclude=None):
    exclude = histories if exclude is None else exclude
    return jax.tree.map(np.asarray, jax.jit(answer(model, k))(model.state, histories, exclude))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_a_trained_model(name, int8):
    plain, functions = fitted(name), MODELS[name].recommender(L)
    model = MODELS[name].scorer(quantize(plain, 8) if int8 else plain)
    twin = dequantize_tree(model.state)
    users = jax.jit(lambda s: functions.encode(s.history, *gather(s.items, HISTORIES)))(twin)
    encoded = jax.jit(model.encode)(model.state, Query(HISTORIES))
    np.testing.assert_allclose(encoded, users, rtol=0, atol=1e-5)
    scores, ids = ask(model, HISTORIES, 5)
    every = np.array(np.asarray(users) @ np.asarray(twin.items).T)
    for row, history in zip(every, HISTORIES, strict=True):
        row[history[history >= 0]] = -np.inf
    np.testing.assert_allclose(scores, -np.sort(-every, axis=1)[:, :5], rtol=0, atol=1e-4)
    assert not any(set(row) & set(history) for row, history in zip(ids, HISTORIES, strict=True))


def test_popularity_is_the_same_list_for_everybody_but_for_what_they_have():
    model = Popularity().scorer({"scores": np.asarray([5, 9, 0, 9, 7], np.float32)[:, None]})
    scores, ids = ask(model, np.asarray([[-1, 0], [1, 4]], np.int32), 3)
    np.testing.assert_array_equal(ids, [[1, 3, 4], [3, 0, 2]])
    np.testing.assert_array_equal(scores, [[9, 9, 7], [9, 5, 0]])


def test_text_cosine_looks_at_the_latest_item_alone():
    text = np.asarray([[2.0, 0.0], [10.0, 1.0], [0.0, 0.5], [-1.0, 0.1], [0.0, 0.0]], np.float32)
    model = TextCosine().scorer({"text": np.asarray(normalize(text))})
    scores, ids = ask(model, np.asarray([[2, 0], [0, 2], [-1, -1]], np.int32), 2)
    np.testing.assert_array_equal(ids[:2], [[1, 4], [1, 3]])
    np.testing.assert_allclose(scores[:2], [[10 / np.sqrt(101), 0], [1 / np.sqrt(101), 0.1 / np.sqrt(1.01)]], rtol=1e-5)
    np.testing.assert_array_equal(scores[2], 0)  # an empty history: nothing is near


def sorted_whole(scores: np.ndarray, exclude: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The slow twin: whole rows sorted, falling, equal scores by id."""
    left = np.array(scores, np.float32)
    for row, ids in zip(left, exclude, strict=True):
        row[ids[ids >= 0]] = -np.inf
    ids = np.argsort(-left, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(left, ids, 1), ids


@pytest.mark.parametrize("levels", [3, 1000], ids=["many ties", "few ties"])
@pytest.mark.parametrize("k", [1, 7, 53])
@pytest.mark.parametrize("chunk", [None, 1, 10, 52, 100])
def test_the_best_of_any_scores_are_those_of_the_full_sort(chunk, k, levels):
    rng = np.random.default_rng(k)
    scores = rng.integers(0, levels, (4, 53)).astype(np.float32)
    exclude = np.asarray([[-1, -1, -1], [52, 0, 52], [5, 6, 7], [9, 10, -1]], np.int32)
    model = score_matrix(scores)
    expected = sorted_whole(scores, exclude, k)
    found = top_k_of_scores(model, model.state, jnp.asarray(scores), k, jnp.asarray(exclude), chunk)
    np.testing.assert_array_equal(found[0], expected[0])
    left = np.isfinite(expected[0])  # which item an excluded place names says nothing
    np.testing.assert_array_equal(np.asarray(found[1])[left], expected[1][left])
    assert found[1].dtype == jnp.int32


def test_excluding_nothing_and_more_than_is_left():
    scores = np.asarray([[1.0, 3.0, 2.0]], np.float32)
    model = score_matrix(scores)
    none = jnp.zeros((1, 0), jnp.int32)
    np.testing.assert_array_equal(top_k_of_scores(model, model.state, model.state, 3, none, 2)[1], [[1, 2, 0]])
    found = top_k_of_scores(model, model.state, model.state, 3, jnp.asarray([[1, 0]]), 2)[0]
    np.testing.assert_array_equal(found, [[2, -np.inf, -np.inf]])


@pytest.mark.parametrize("k", [1, 4, N])
def test_a_model_is_answered_alike_with_its_vectors_and_without(k):
    """Integer vectors: scores are exact, and many of them tie."""
    rows = jnp.asarray(np.random.default_rng(2).integers(-1, 2, (N, 3)), jnp.float32)

    def encode(histories: jax.Array) -> jax.Array:
        return rows[histories[:, -1]] + 1

    model = dot_product(encode, rows)
    with_vectors, without = ask(model, HISTORIES, k), ask(replace(model, vectors=None), HISTORIES, k)
    expected = sorted_whole(np.asarray(encode(HISTORIES) @ rows.T), HISTORIES, k)
    left = np.isfinite(expected[0])
    for scores, ids in (with_vectors, without):
        np.testing.assert_array_equal(scores, expected[0])
        np.testing.assert_array_equal(ids[left], expected[1][left])


def test_a_model_that_reads_times_is_told_them():
    def encode(state: jax.Array, query: Query) -> jax.Array:
        return query.times[:, -1]

    def score(state: jax.Array, moments: jax.Array, ids: jax.Array) -> jax.Array:
        return -jnp.abs(moments[:, None] - ids[None, :]).astype(jnp.float32)

    model = Scorer(jnp.zeros(0), encode, score, N)
    times = np.asarray([[0] * L + [4], [0] * L + [11]], np.int32)
    _, ids = jax.jit(answer(model, 1))(model.state, HISTORIES, np.zeros((2, 0), np.int32), times)
    np.testing.assert_array_equal(ids, [[4], [11]])
