import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.compression.quantize import dequantize, quantize_rows
from rexjax.retrieval import topk

B, N, D = 5, 40, 8
RNG = np.random.default_rng(0)
QUERIES, ITEMS = (RNG.normal(size=(n, D)).astype(np.float32) for n in (B, N))
EXCLUDE = np.stack([np.concatenate([RNG.permutation(N)[:n], np.full(9 - n, -1)]) for n in (0, 1, 5, 9, 3)]).astype(
    np.int32
)
EXCLUDE[4, 1] = EXCLUDE[4, 0]  # twice, with padding between
ROWS = {
    "float32": ITEMS,
    "int8": jax.tree.map(np.asarray, quantize_rows(jnp.asarray(ITEMS))),
    "int4": jax.tree.map(np.asarray, quantize_rows(jnp.asarray(ITEMS), 4)),
}


def plain(kind):
    """float32 [N, D], whatever the rows are kept in."""
    return ITEMS if kind == "float32" else np.asarray(dequantize(ROWS[kind]))


def slow(queries, items, k, exclude=None):
    """Sorts whole rows; equal scores by id."""
    scores = np.asarray(queries, np.float64) @ np.asarray(items, np.float64).T
    for row, ids in zip(scores, [] if exclude is None else exclude, strict=False):
        row[ids[ids >= 0]] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("exclude", [None, EXCLUDE], ids=["all", "exclude"])
@pytest.mark.parametrize("k", [1, 10, 31])
def test_equals_sorting(kind, exclude, k):
    scores, ids = jax.jit(topk.top_k, static_argnums=2)(QUERIES, ROWS[kind], k, exclude=exclude)
    expected_scores, expected_ids = slow(QUERIES, plain(kind), k, exclude)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-5)
    assert scores.dtype == np.float32 and ids.dtype == np.int32


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_scores_of_quantised_rows_are_those_of_their_dequantised_selves(kind):
    np.testing.assert_allclose(topk.score(QUERIES, ROWS[kind]), topk.score(QUERIES, plain(kind)), rtol=1e-5, atol=1e-5)


def test_ties_come_in_the_order_of_ids():
    items = np.ones((6, 2), np.float32)
    _, ids = topk.top_k(np.ones((1, 2), np.float32), items, 4, exclude=np.asarray([[1, -1]]))
    np.testing.assert_array_equal(ids, [[0, 2, 3, 4]])


def test_fewer_left_than_asked_for():
    items = np.asarray([[3.0], [2.0], [1.0]], np.float32)
    scores, ids = topk.top_k(np.ones((2, 1), np.float32), items, 3, exclude=np.asarray([[0, 2], [0, 1]]))
    np.testing.assert_array_equal(scores, [[2.0, -np.inf, -np.inf], [1.0, -np.inf, -np.inf]])
    np.testing.assert_array_equal(ids[:, 0], [1, 2])


def test_padding_excludes_nothing():
    nothing = np.full((B, 3), -1, np.int32)
    np.testing.assert_array_equal(topk.top_k(QUERIES, ITEMS, N, exclude=nothing)[1], topk.top_k(QUERIES, ITEMS, N)[1])


@pytest.mark.parametrize("kind", ROWS)
def test_take(kind):
    rows = plain(kind)
    vectors, mask = topk.take(ROWS[kind], np.asarray([[-1, 3], [0, N - 1]], np.int32))
    np.testing.assert_allclose(vectors, [[np.zeros(D), rows[3]], [rows[0], rows[N - 1]]], rtol=1e-6)
    np.testing.assert_array_equal(mask, [[False, True], [True, True]])
