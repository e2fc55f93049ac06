import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding.product import ProductRows
from rexjax.embedding.quantized import dequantize, quantize_rows
from rexjax.retrieval import topk
from tests.reference import retrieval as reference
from tests.reference.compression import decode

B, D = 5, 8
RNG = np.random.default_rng(0)
QUERIES = RNG.normal(size=(B, D)).astype(np.float32)
SIZES = {"sorted": 60, "blocks": 4000, "one short block": 4005, "chunks": 8000, "chunks and a rest": 8013}


def items(n):
    return np.random.default_rng(n).normal(size=(n, D)).astype(np.float32)


def kept(kind, plain):
    """Rows as they are kept, and what they stand for."""
    if kind == "float32":
        return plain, plain
    if kind == "bfloat16":
        rows = jnp.asarray(plain, jnp.bfloat16)
        return rows, np.asarray(rows, np.float32)
    if kind == "codes":
        books = RNG.normal(size=(4, 256, D // 4)).astype(np.float16)
        codes = np.random.default_rng(len(plain)).integers(0, 256, (len(plain), 4)).astype(np.uint8)
        return ProductRows(jnp.asarray(codes), jnp.asarray(books)), decode(codes, books.astype(np.float32))
    rows = quantize_rows(jnp.asarray(plain), int(kind[3:]), jnp.float16)
    return rows, np.asarray(dequantize(rows))


def excluded(n):
    lists = [RNG.permutation(n)[:count] for count in (0, 1, 5, 9, 3)]
    found = np.stack([np.concatenate([ids, np.full(9 - len(ids), -1)]) for ids in lists]).astype(np.int32)
    found[4, 1] = found[4, 0]  # twice, with padding between
    found[3, :3] = [0, 1, n - 1]  # two of one block, and the last
    return found


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(topk, "SCORES_OF_CHUNK", 700 * B)  # chunks of 688 rows, where all would fit into one
    monkeypatch.setattr(topk, "SCORES_UNCHUNKED", 5000 * B)


def check(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    assert found[0].dtype == np.float32 and found[1].dtype == np.int32


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8", "int4", "codes"])
@pytest.mark.parametrize("exclude", [False, True], ids=["all", "exclude"])
@pytest.mark.parametrize("n", SIZES.values(), ids=SIZES)
def test_equals_sorting(n, exclude, kind):
    rows, plain = kept(kind, items(n))
    exclude = excluded(n) if exclude else None
    for k in (1, 10):
        found = jax.jit(topk.top_k, static_argnums=2)(QUERIES, rows, k, exclude=exclude)
        check(found, reference.top_k(QUERIES, plain, k, exclude=exclude))


@pytest.mark.parametrize("n", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("each", [False, True], ids=["one mask", "one each"])
def test_only_what_the_mask_lets_through_is_answered(n, each):
    rng, rows, exclude = np.random.default_rng(1), items(n), excluded(n)
    mask = rng.random((B, n) if each else n) < 0.3
    check(
        topk.top_k(QUERIES, rows, 7, exclude=exclude, mask=mask),
        reference.top_k(QUERIES, rows, 7, exclude=exclude, mask=mask),
    )


@pytest.mark.parametrize("n", [60, 8013])
@pytest.mark.parametrize("kind", ["float32", "int8", "codes"])
def test_cosine_is_the_dot_product_of_unit_vectors(n, kind):
    scale = np.random.default_rng(2).lognormal(size=(n, 1)).astype(np.float32)
    rows, plain = kept(kind, items(n) * scale)
    check(topk.top_k(QUERIES * 3, rows, 9, cosine=True), reference.top_k(QUERIES, plain, 9, cosine=True))


@pytest.mark.parametrize("n", SIZES.values(), ids=SIZES)
def test_ties_come_in_the_order_of_ids(n):
    rows = np.random.default_rng(3).integers(-1, 2, (n, 3)).astype(np.float32)  # 27 kinds of item, sums exact
    queries = np.asarray([[1, 2, 3], [0, 0, 0], [-1, 1, 0], [5, 0, 0], [0, 0, 2]], np.float32)
    exclude = excluded(n)
    check(topk.top_k(queries, rows, 20, exclude=exclude), reference.top_k(queries, rows, 20, exclude=exclude))


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("n", [9000, 9077])
def test_a_few_queries_with_their_larger_blocks(n, kind):
    rows, plain = kept(kind, items(n))
    exclude = excluded(n)[:2]
    check(topk.top_k(QUERIES[:2], rows, 5, exclude=exclude), reference.top_k(QUERIES[:2], plain, 5, exclude=exclude))


def test_the_best_in_one_block_and_one_best_in_each():
    rows = np.zeros((2000, 1), np.float32)
    rows[480:496, 0] = np.arange(16, 0, -1)
    scores, ids = topk.top_k(np.ones((1, 1), np.float32), rows, 12)
    np.testing.assert_array_equal(ids, [np.arange(480, 492)])
    rows[::16] += 100  # the first of each block
    np.testing.assert_array_equal(topk.top_k(np.ones((1, 1), np.float32), rows, 3)[1], [[480, 0, 16]])


@pytest.mark.parametrize("n", [3, 2000])
def test_fewer_left_than_asked_for(n):
    rows = np.arange(n, 0, -1, dtype=np.float32)[:, None]
    mask = np.arange(n) < 3
    exclude = np.asarray([[0, 2], [0, 1]], np.int32)
    scores, ids = topk.top_k(np.ones((2, 1), np.float32), rows, 3, exclude=exclude, mask=mask)
    np.testing.assert_array_equal(scores, [[n - 1, -np.inf, -np.inf], [n - 2, -np.inf, -np.inf]])
    np.testing.assert_array_equal(ids[:, 0], [1, 2])
    assert ((ids >= 0) & (ids < n)).all()


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("how", ["all", "exclude", "mask", "cosine"])
@pytest.mark.parametrize(("n", "rows"), [(50, 60), (60, 60), (3990, 4000), (3985, 8013), (8013, 8013)])
def test_rows_that_are_no_items_are_never_answered(n, rows, how, kind):
    stored, plain = kept(kind, items(rows) - 3 * (np.arange(rows) < n)[:, None].astype(np.float32))  # the best are none
    limits = {"all": {}, "exclude": {"exclude": excluded(n)}, "mask": {"mask": RNG.random(rows) < 0.3}}.get(how, {})
    queries = np.abs(QUERIES)
    found = jax.jit(lambda real: topk.top_k(queries, stored, 9, real=real, cosine=how == "cosine", **limits))(n)
    if how == "mask":
        limits = {"mask": limits["mask"][:n]}
    check(found, reference.top_k(queries, plain[:n], 9, cosine=how == "cosine", **limits))


def test_padding_excludes_nothing():
    nothing, rows = np.full((B, 3), -1, np.int32), items(2000)
    np.testing.assert_array_equal(topk.top_k(QUERIES, rows, 9, exclude=nothing)[1], topk.top_k(QUERIES, rows, 9)[1])


@pytest.mark.usefixtures("optimized")
def test_scores_of_the_whole_catalogue_never_lie_in_memory():
    n, users = 100_000, 32
    shapes = (jax.ShapeDtypeStruct((users, D), jnp.float32), jax.ShapeDtypeStruct((n, D), jnp.float32))

    def temp(f):
        return jax.jit(f).lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    plain = temp(lambda queries, rows: jax.lax.top_k(queries @ rows.T, 10))
    assert plain >= 4 * users * n and temp(lambda queries, rows: topk.top_k(queries, rows, 10)) < plain / 4


@pytest.mark.usefixtures("optimized")
def test_many_queries_with_long_lists_of_excluded_items_need_little_memory(monkeypatch):
    n, users, long = 40_000, 300, 200
    monkeypatch.setattr(topk, "RESCORED_NUMBERS", 1 << 18)
    rows, exclude = items(n), np.random.default_rng(4).integers(-1, n, (users, long)).astype(np.int32)
    queries = np.random.default_rng(5).normal(size=(users, D)).astype(np.float32)
    answer = jax.jit(lambda *args: topk.top_k(*args[:2], 10, exclude=args[2]))
    compiled = answer.lower(queries, rows, exclude).compile()
    whole = 4 * users * (10 + topk.SPARE + long) * topk.MANY * D
    assert compiled.memory_analysis().temp_size_in_bytes < whole / 2
    check(answer(queries, rows, exclude), reference.top_k(queries, rows, 10, exclude=exclude))


@pytest.mark.parametrize("k", [0, 61])
def test_k_beyond_the_catalogue_is_refused(k):
    with pytest.raises(ValueError, match=f"k is {k}: with 60 items it must lie in 1 … 60"):
        topk.top_k(QUERIES, items(60), k)
