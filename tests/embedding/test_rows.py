import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding import rows as reading
from rexjax.embedding.quantized import quantize_rows
from tests.reference import retrieval as reference

N, D = 40, 8
RNG = np.random.default_rng(0)
QUERIES, ITEMS = (RNG.normal(size=(n, D)).astype(np.float32) for n in (5, N))
ROWS = {
    "float32": ITEMS,
    "bfloat16": jnp.asarray(ITEMS, jnp.bfloat16),
    "int8": quantize_rows(jnp.asarray(ITEMS)),
    "int4": quantize_rows(jnp.asarray(ITEMS), 4, jnp.float16),
}


@pytest.mark.parametrize("kind", ROWS)
def test_take(kind):
    histories = np.asarray([[-1, 3], [0, N - 1]], np.int32)
    vectors, mask = reading.take(ROWS[kind], histories)
    expected, present = reference.take(ROWS[kind], histories)
    assert vectors.dtype == jnp.float32
    np.testing.assert_allclose(vectors, expected, rtol=1e-6)
    np.testing.assert_array_equal(mask, present)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("kind", ROWS)
def test_scores_are_those_of_the_rows_made_float32(kind, cosine):
    expected = reference.score(QUERIES, ROWS[kind], cosine)
    np.testing.assert_allclose(reading.score(QUERIES, ROWS[kind], cosine), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reading.score_by_row(QUERIES, ROWS[kind], cosine), expected.T, rtol=1e-5, atol=1e-5)
    of_each = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(QUERIES)), ROWS[kind])
    np.testing.assert_allclose(reading.score(QUERIES, of_each, cosine), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ROWS)
def test_a_piece_is_kept_as_the_whole(kind):
    part = reading.piece(ROWS[kind], 7, 4)
    assert reading.count(part) == 4 and reading.count(ROWS[kind]) == N
    expected = reading.score(QUERIES, ROWS[kind])[:, 7:11]
    np.testing.assert_allclose(reading.score(QUERIES, part), expected, rtol=1e-6)


def test_whether_they_are_quantised():
    assert [kind for kind, rows in ROWS.items() if not reading.quantized(rows)] == ["float32"]


def test_a_row_of_zeros_has_cosine_zero():
    assert not reading.score(QUERIES, np.zeros((3, D), np.float32), cosine=True).any()
