"""The C++ loop over the rows beside its twin, and the whole path with and without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax import native
from rexjax.embedding.quantized import quantize_rows
from rexjax.retrieval import topk, topk_cpu
from tests.reference import retrieval as reference

pytestmark = pytest.mark.skipif(not native.available(), reason="the package was built without a C++ compiler")
KINDS = ("float32", "int8", "int4")


def kept(rng, rows, width, kind):
    values = jnp.asarray(rng.normal(size=(rows, width)), jnp.float32)
    return values if kind == "float32" else quantize_rows(values, int(kind.removeprefix("int")), jnp.float16)


@pytest.mark.parametrize("mask", ["all", "one for all", "each its own"])
@pytest.mark.parametrize("width", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("kind", KINDS)
def test_maxima_of_blocks(kind, width, mask):
    rng = np.random.default_rng(width)
    items, queries = kept(rng, 1003, width, kind), jnp.asarray(rng.normal(size=(3, width)), jnp.float32)
    may = {"all": None, "one for all": rng.random((1, 1003)) < 0.02, "each its own": rng.random((3, 1003)) < 0.02}[mask]
    may = None if may is None else jnp.asarray(may)
    assert topk_cpu.reads(queries, items, cosine=False)
    found = topk_cpu.block_maxima(queries, items, may)
    expected = reference.block_maxima(queries, items, may, topk_cpu.BLOCK)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    scores = reference.score(queries, items) if may is None else np.where(may, reference.score(queries, items), -np.inf)
    np.testing.assert_allclose(topk_cpu.scores(queries, items, may), scores, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("rows", [16, 127, 128, 129, 143])
def test_the_last_block_may_be_short(rows):
    rng = np.random.default_rng(rows)
    items, queries = kept(rng, rows, 32, "int8"), jnp.asarray(rng.normal(size=(1, 32)), jnp.float32)
    expected = reference.block_maxima(queries, items, None, topk_cpu.BLOCK)
    np.testing.assert_allclose(topk_cpu.block_maxima(queries, items, None), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_to_be_read_is_read(kind):
    rng, known = np.random.default_rng(2), []
    for width in range(2, 162, 2):
        items, query = kept(rng, 16, width, kind), jnp.asarray(rng.normal(size=(1, width)), jnp.float32)
        if topk_cpu.reads(query, items, cosine=False):
            known.append(width)
            np.testing.assert_allclose(topk_cpu.scores(query, items, None), reference.score(query, items), atol=1e-4)
    assert {16, 32, 64, 128} <= set(known)


def test_scales_of_any_size_are_read():
    rng = np.random.default_rng(0)
    items, queries = kept(rng, 256, 16, "int8"), jnp.asarray(rng.normal(size=(1, 16)), jnp.float32)
    scales = jnp.asarray(np.geomspace(6e-8, 6e4, 256)[:, None], jnp.float16)  # subnormal ones too
    items = items._replace(scales=scales)
    expected = reference.block_maxima(queries, items, None, topk_cpu.BLOCK)
    np.testing.assert_allclose(topk_cpu.block_maxima(queries, items, None), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [9001, 90_001])  # all scores at once, and by blocks
def test_the_whole_path_answers_as_the_plain_one(rows, kind):
    rng = np.random.default_rng(1)
    items, queries = kept(rng, rows, 64, kind), jnp.asarray(rng.normal(size=(2, 64)), jnp.float32)
    exclude, mask = jnp.asarray(rng.integers(-1, rows, (2, 7)), jnp.int32), jnp.asarray(rng.random(rows) < 0.5)
    found = topk.top_k(queries, items, 10, exclude=exclude, mask=mask)
    with native.without():
        expected = topk.top_k(queries, items, 10, exclude=exclude, mask=mask)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)


def test_programs_hold_it_unless_they_are_to_go_elsewhere():
    def text():
        shapes = jax.ShapeDtypeStruct((1, 64), jnp.float32), jax.ShapeDtypeStruct((9001, 64), jnp.float32)
        return jax.jit(lambda queries, items: topk.top_k(queries, items, 10)).lower(*shapes).as_text()

    assert "rexjax_block_maxima" in text()
    with native.without():
        assert "rexjax_block_maxima" not in text()
