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


@case("compression.prune:magnitude_prune")
def compare_prune(fast, twin, rng):
    tree = {"up": {"kernel": normal(rng, 4, 5), "bias": normal(rng, 5)}, "q": {"kernel": normal(rng, 2, 3, 4)}}
    close(jax.jit(fast, static_argnums=1)(tree, 0.4), twin(tree, 0.4), 0)
