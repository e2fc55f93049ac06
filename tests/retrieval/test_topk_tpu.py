"""The kernels in interpret mode beside the plain path; benchmarks.topk and the last test show that the TPU compiler
takes them, and what they move."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding.quantized import quantize_rows
from rexjax.retrieval import topk, topk_tpu
from tests.reference import retrieval as reference

N, D, B = 2 * topk_tpu.TILE + 32 * 9, 128, 8
RNG = np.random.default_rng(0)
QUERIES, ROWS = (jnp.asarray(RNG.normal(size=(n, D)), jnp.float32) for n in (B, N))
KEPT = {
    "float32": ROWS,
    "bfloat16": ROWS.astype(jnp.bfloat16),
    "int8": quantize_rows(ROWS, 8, jnp.float16),
}
MASK = jnp.asarray(RNG.random((1, N)) < 0.02).at[0, :64].set(False)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "mask"])
@pytest.mark.parametrize("kind", KEPT)
def test_maxima_of_blocks(kind, mask):
    found = topk_tpu.block_maxima(QUERIES, KEPT[kind], mask, interpret=True)
    expected = reference.block_maxima(QUERIES, KEPT[kind], mask, topk_tpu.BLOCK)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KEPT)
def test_scores_of_blocks(kind):
    starts = jnp.asarray(RNG.integers(0, N // topk_tpu.BLOCK, (B, 5)), jnp.int32) * topk_tpu.BLOCK
    found = topk_tpu.score_blocks(QUERIES, KEPT[kind], starts, interpret=True)
    expected = reference.score_blocks(QUERIES, KEPT[kind], starts, topk_tpu.BLOCK)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KEPT)
def test_the_whole_path_answers_as_the_plain_one(kind, monkeypatch):
    exclude = jnp.asarray(RNG.integers(-1, N, (B, 6)), jnp.int32)
    expected = topk.top_k(QUERIES, KEPT[kind], 10, exclude=exclude)
    interpreted = topk.Passes(
        lambda *args: topk_tpu.block_maxima(*args, interpret=True),
        lambda *args: topk_tpu.score_blocks(*args, interpret=True),
        topk_tpu.BLOCK,
    )
    monkeypatch.setattr(topk, "plain", lambda block: interpreted)
    found = topk.top_k(QUERIES, KEPT[kind], 10, exclude=exclude)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "mask", "cosine", "fits"),
    [
        (jnp.zeros((64, 128)), None, False, True),
        (jnp.zeros((64, 128)), jnp.ones((1, 64), bool), False, True),
        (jnp.zeros((64, 128)), jnp.ones((8, 64), bool), False, False),
        (jnp.zeros((64, 128)), None, True, False),
        (jnp.zeros((64, 64)), None, False, False),
        (jnp.zeros((60, 128)), None, False, False),
        (quantize_rows(jnp.zeros((64, 256)), 4), None, False, False),
    ],
)
def test_what_the_kernels_do_not_know_goes_the_plain_way(rows, mask, cosine, fits):
    assert topk_tpu.reads(rows, mask, cosine) == fits


@pytest.mark.usefixtures("optimized")
@pytest.mark.usefixtures("libtpu")
def test_the_tpu_compiler_takes_them_and_scores_never_go_back_to_memory():
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.topk", "--one", "tpu", "v5e:2x2", "bfloat16"],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["temp_mib"] <= 64 and found["hbm_bytes"] <= 2 * found["rows_bytes"]
