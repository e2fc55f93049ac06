import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding.product import ProductRows, nearest_codes
from rexjax.embedding.quantized import quantize_rows
from rexjax.retrieval import sharded, topk
from rexjax.runtime.mesh import make_mesh

B, D = 5, 8
RNG = np.random.default_rng(0)
QUERIES = jnp.asarray(RNG.normal(size=(B, D)), jnp.float32)


def kept(kind, n):
    rows = jnp.asarray(np.random.default_rng(n).normal(size=(n, D)), jnp.float32)
    if kind == "codes":
        books = jax.random.normal(jax.random.key(0), (4, 256, D // 4)).astype(jnp.float16)
        return ProductRows(nearest_codes(rows, books), books)
    return rows.astype(kind) if "float" in kind else quantize_rows(rows, int(kind[3:]), jnp.float16)


def answers(mesh, items, n, k, queries=QUERIES, **about):
    run = jax.jit(functools.partial(sharded.top_k, mesh=mesh, total=n), static_argnums=2, static_argnames="cosine")
    return run(queries, sharded.place(items, mesh), k, **about)


def check(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 1), (2, 4), (1, 3)])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8", "int4", "codes"])
@pytest.mark.parametrize("n", [61, 20_003])
def test_the_same_ids_as_on_one_device(n, kind, shape):
    items, mesh = kept(kind, n), make_mesh(*shape)
    exclude = jnp.asarray(RNG.integers(-1, n, (B, 6)), jnp.int32)
    check(answers(mesh, items, n, 10, exclude=exclude), topk.top_k(QUERIES, items, 10, exclude=exclude))


@pytest.mark.parametrize("each", [False, True], ids=["one mask", "one each"])
@pytest.mark.parametrize("n", [64, 20_000])
def test_masks_lie_over_the_mesh(n, each):
    items, mask = kept("float32", n), jnp.asarray(np.random.default_rng(1).random((B, n) if each else n) < 0.3)
    check(answers(make_mesh(8), items, n, 7, mask=mask), topk.top_k(QUERIES, items, 7, mask=mask))


def test_more_asked_for_than_a_device_holds():
    items = kept("float32", 61)  # eight on each of seven devices, five on the last
    check(answers(make_mesh(8), items, 61, 61), topk.top_k(QUERIES, items, 61))


def test_ties_come_in_the_order_of_ids_and_padding_is_never_answered():
    items = -jnp.ones((13, 2))  # rows of zeros, which fill up the last device, would score higher
    scores, ids = answers(make_mesh(8), items, 13, 13, queries=jnp.ones((3, 2)))
    np.testing.assert_array_equal(ids, [np.arange(13)] * 3)
    np.testing.assert_array_equal(scores, np.full((3, 13), -2.0))


def test_cosine():
    items = kept("float32", 3001) * jnp.arange(1.0, 3002)[:, None]
    check(answers(make_mesh(8), items, 3001, 5, cosine=True), topk.top_k(QUERIES, items, 5, cosine=True))


@pytest.mark.usefixtures("optimized")
def test_what_is_exchanged_does_not_follow_the_items():
    mesh, sizes = make_mesh(8), []
    for n in (8_000, 80_000):
        run = functools.partial(sharded.top_k, k=10, mesh=mesh, total=n)
        text = jax.jit(run).lower(QUERIES, sharded.place(kept("float32", n), mesh)).compile().as_text()
        sizes.append(sorted(re.findall(r" = (.*?) (all-[a-z-]+)\(", text)))
    assert sizes[0] == sizes[1] and len(sizes[0]) == 4


def test_k_beyond_the_catalogue_is_refused():
    with pytest.raises(ValueError, match="k is 62: with 61 items"):
        answers(make_mesh(8), kept("float32", 61), 61, 62)
