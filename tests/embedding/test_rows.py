import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding import rows as reading
from rexjax.embedding.product import ProductRows
from rexjax.embedding.quantized import quantize_rows
from rexjax.embedding.row_format import arrays_by_row, by_field, map_rows
from tests.reference import retrieval as reference

N, D = 40, 8
RNG = np.random.default_rng(0)
QUERIES, ITEMS = (RNG.normal(size=(n, D)).astype(np.float32) for n in (5, N))
ROWS = {
    "float32": ITEMS,
    "bfloat16": jnp.asarray(ITEMS, jnp.bfloat16),
    "int8": quantize_rows(jnp.asarray(ITEMS)),
    "int4": quantize_rows(jnp.asarray(ITEMS), 4, jnp.float16),
    "codes": ProductRows(
        jnp.asarray(RNG.integers(0, 256, (N, 4)), jnp.uint8), jnp.asarray(RNG.normal(size=(4, 256, 2)), jnp.float16)
    ),
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
    of_each = map_rows(lambda leaf: jnp.stack([leaf] * len(QUERIES)), ROWS[kind])
    np.testing.assert_allclose(reading.score(QUERIES, of_each, cosine), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ROWS)
def test_a_piece_is_kept_as_the_whole(kind):
    part = reading.piece(ROWS[kind], 7, 4)
    assert reading.count(part) == 4 and reading.count(ROWS[kind]) == N
    expected = reading.score(QUERIES, ROWS[kind])[:, 7:11]
    np.testing.assert_allclose(reading.score(QUERIES, part), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ROWS)
def test_pieces_lie_one_behind_the_other(kind):
    starts = jnp.asarray([[0, 30], [7, 2], [36, 36]])
    expected = [np.concatenate([reference.plain(ROWS[kind])[at : at + 4] for at in own]) for own in starts]
    np.testing.assert_allclose(reading.plain_rows(reading.pieces(ROWS[kind], starts, 4)), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ROWS)
def test_an_id_beyond_the_table_reads_zeros(kind):
    vectors, mask = reading.take(ROWS[kind], np.asarray([[N, N - 1, -1]], np.int32))
    assert not vectors[0, 0].any() and vectors[0, 1].any() and mask.tolist() == [[True, True, False]]


@pytest.mark.parametrize("kind", ROWS)
def test_no_ids_read_no_rows(kind):
    vectors, mask = reading.take(ROWS[kind], np.zeros((1, 0), np.int32))
    assert vectors.shape == (1, 0, D) and mask.shape == (1, 0)


@pytest.mark.parametrize("kind", ROWS)
def test_what_all_rows_share_is_no_rows(kind):
    assert reading.width(ROWS[kind]) == D and all(len(leaf) == N for leaf in arrays_by_row(ROWS[kind]))
    marks = jax.tree.leaves(by_field(ROWS[kind], 1, 2))
    assert marks.count(1) == len(arrays_by_row(ROWS[kind])) and marks.count(2) == (kind == "codes")


@pytest.mark.parametrize("kind", ROWS)
def test_new_rows_are_kept_as_the_others(kind):
    again = reading.alike(jnp.asarray(reading.plain_rows(ROWS[kind]), jnp.float32), ROWS[kind])
    np.testing.assert_allclose(reading.plain_rows(again), reading.plain_rows(ROWS[kind]), rtol=2e-3, atol=2e-3)
    assert [leaf.dtype for leaf in jax.tree.leaves(again)] == [leaf.dtype for leaf in jax.tree.leaves(ROWS[kind])]


def test_whether_they_are_quantised():
    assert [kind for kind, rows in ROWS.items() if not reading.quantized(rows)] == ["float32"]


def test_a_row_of_zeros_has_cosine_zero():
    assert not reading.score(QUERIES, np.zeros((3, D), np.float32), cosine=True).any()
