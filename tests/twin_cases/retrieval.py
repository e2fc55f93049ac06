"""Top-k, scores, and the map from text to rows."""

import jax
import jax.numpy as jnp
import numpy as np

from rexjax import native
from rexjax.embedding.quantized import quantize_rows
from rexjax.models import text_map as text_maps
from rexjax.retrieval import sharded, topk_cpu, topk_tpu
from rexjax.runtime.mesh import make_mesh
from tests.twin_cases import case, close, normal


@case("retrieval.topk:top_k", "retrieval.sharded:top_k")
def compare_top_k(fast, twin, rng):
    queries, items, exclude = normal(rng, 3, 8), normal(rng, 3001, 8), rng.integers(-1, 3001, (3, 5)).astype(np.int32)
    mask, mesh = rng.random(3001) < 0.5, make_mesh(8, 1)
    on_mesh = fast.function is sharded.top_k
    placed, more = (sharded.place(items, mesh), {"mesh": mesh, "total": 3001}) if on_mesh else (items, {})
    answer = jax.jit(lambda *arrays: fast(arrays[0], arrays[1], 6, exclude=arrays[2], mask=arrays[3], **more))
    found = answer(queries, placed, exclude, mask)
    close(tuple(found), twin(queries, items, 6, exclude=exclude, mask=mask))


@case("retrieval.topk_tpu:block_maxima")
def compare_block_maxima(fast, twin, rng):
    queries, items = normal(rng, 4, 128), normal(rng, topk_tpu.TILE + 64, 128)
    mask = rng.random((1, len(items))) < 0.3
    found = fast(jnp.asarray(queries), jnp.asarray(items), jnp.asarray(mask), interpret=True)
    close(found, twin(queries, items, mask, topk_tpu.BLOCK), 1e-4)


@case("retrieval.topk_tpu:score_blocks")
def compare_score_blocks(fast, twin, rng):
    queries, items = normal(rng, 4, 128), normal(rng, 512, 128)
    starts = (rng.integers(0, 512 // topk_tpu.BLOCK, (4, 3)) * topk_tpu.BLOCK).astype(np.int32)
    found = fast(jnp.asarray(queries), jnp.asarray(items), jnp.asarray(starts), interpret=True)
    close(found, twin(queries, items, starts, topk_tpu.BLOCK), 1e-4)


@case("retrieval.topk_cpu:block_maxima")
def compare_block_maxima_on_cpus(fast, twin, rng):
    queries, items, mask = normal(rng, 2, 16), normal(rng, 300, 16), rng.random((1, 300)) < 0.3
    if native.available():  # without a compiler there is no such loop
        found = fast(jnp.asarray(queries), jnp.asarray(items), jnp.asarray(mask))
        close(found, twin(queries, items, mask, topk_cpu.BLOCK), 1e-4)


@case("embedding.rows:take")
def compare_take(fast, twin, rng):
    rows, histories = quantize_rows(normal(rng, 20, 6), 4), rng.integers(-1, 20, (4, 5)).astype(np.int32)
    close(tuple(fast(rows, histories)), twin(rows, histories))


@case("embedding.rows:score", "embedding.rows:score_by_row")
def compare_scores(fast, twin, rng):
    queries, rows = normal(rng, 3, 6), quantize_rows(normal(rng, 20, 6), 8)
    close(fast(queries, rows, True), twin(queries, rows, True))


@case("models.text_map:fit_map")
def compare_fit_map(fast, twin, rng):
    vectors, rows = normal(rng, 60, 7), normal(rng, 60, 4)
    found = fast(vectors, rows)
    expected = twin(vectors.astype(float), rows.astype(float), text_maps.RIDGES)
    close((found.about["ridge"], found.kernel, found.bias), expected, 1e-4)


@case("models.text_map:predict")
def compare_predict(fast, twin, rng):
    vectors, rows, asked = normal(rng, 60, 7), normal(rng, 60, 4), normal(rng, 5, 7)
    learnt = text_maps.fit_map(vectors, rows)
    close(fast(learnt, asked), twin(learnt.kernel, learnt.bias, vectors, rows, asked), 5e-3)  # kept in float16
