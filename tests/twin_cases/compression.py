"""Rounded rows and pruned kernels."""

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding.quantized import quantize_rows
from tests.reference import TWINS
from tests.twin_cases import case, close, normal


@case("embedding.quantized:quantize_rows")
def compare_quantize_rows(fast, twin, rng):
    rows = normal(rng, 7, 6)
    for bits in (8, 4):
        found, (numbers, scales) = jax.jit(fast, static_argnums=1)(rows, bits), twin(rows, bits)
        close(found.scales, scales)
        np.testing.assert_array_equal(TWINS["rexjax.embedding.quantized:numbers"](found), numbers)


@case("embedding.quantized:straight_through")
def compare_straight_through(fast, twin, rng):
    rows = normal(rng, 7, 6)
    close(jax.jit(fast, static_argnums=1)(rows, 4), twin(rows, 4))


@case("embedding.quantized:numbers", "embedding.quantized:dequantize")
def compare_numbers(fast, twin, rng):
    for bits in (8, 4):
        rows = quantize_rows(jnp.asarray(normal(rng, 7, 6)), bits)
        close(fast(rows), twin(rows))


@case("embedding.product:decode", "embedding.product:nearest_codes", "embedding.product:weighted_centroids")
def compare_codes(fast, twin, rng):
    rows, books = normal(rng, 40, 6), normal(rng, 3, 256, 2)
    codes, weights = rng.integers(0, 256, (40, 3)).astype(np.uint8), rng.integers(0, 3, 40).astype(np.float32)
    given = {"decode": (codes, books), "nearest_codes": (rows, books)}
    arguments = given.get(twin.function.__name__, (rows, codes, weights, books))
    close(jax.jit(fast)(*map(jnp.asarray, arguments)), twin(*arguments))


@case("embedding.product:fit_books")
def compare_fit_books(fast, twin, rng):
    rows, weights = normal(rng, 300, 4), rng.integers(0, 9, 300).astype(np.float32)
    first = np.asarray(fast(rows, weights, 2, 0, rounds=0))
    close(fast(rows, weights, 2, 0, rounds=3), twin(rows, weights, first, 3))


@case("compression.prune:magnitude_prune")
def compare_prune(fast, twin, rng):
    tree = {"up": {"kernel": normal(rng, 4, 5), "bias": normal(rng, 5)}, "q": {"kernel": normal(rng, 2, 3, 4)}}
    close(jax.jit(fast, static_argnums=1)(tree, 0.4), twin(tree, 0.4), 0)
