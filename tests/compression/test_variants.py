import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.compression import variants
from rexjax.embedding import quantized
from rexjax.errors import UserError


@pytest.mark.parametrize(
    ("name", "width", "bits", "item_bytes"),
    [
        ("int8", 48, 8, 50),
        ("int4", 48, 4, 26),
        ("half", 24, 32, 96),
        ("w12", 12, 32, 48),
        ("w12_int8", 12, 8, 14),
        ("half_int4", 24, 4, 14),
        ("sparse50", 48, 32, 192),
        ("w12_int8_sparse5", 12, 8, 14),
    ],
)
def test_a_name_says_width_and_bits(name, width, bits, item_bytes):
    assert variants.parse(name, 48)[:3] == (name, width, bits)
    assert variants.parse(name, 48).item_bytes == item_bytes


@pytest.mark.parametrize(("name", "zeros"), [("int8", 0), ("sparse50", 50), ("half_int4_sparse5", 5)])
def test_a_name_says_how_many_weights_are_zero(name, zeros):
    assert variants.parse(name, 48).zeros == zeros


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "a variant is int8"),
        ("_", "a variant is int8"),
        ("int16", "a variant is int8"),
        ("quarter", "a variant is int8"),
        ("int8_half", "a variant is int8"),
        ("sparse", "a variant is int8"),
        ("sparse100", "a variant is int8"),
        ("w0", "keep 1 to 6 dimensions"),
        ("w7", "the student is 6 wide; keep 1 to 6"),
        ("half_int4", "two numbers a byte, and 3 is odd"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name, words):
    with pytest.raises(UserError, match=words):
        variants.parse(name, 6)


@pytest.mark.parametrize("name", ["half", "int8", "int4"])
def test_training_rounds_as_the_rows_are_kept(name):
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(5, 8)), jnp.float32)
    variant = variants.parse(name, 8)
    kept = (
        rows if variant.bits == 32 else quantized.dequantize(quantized.quantize_rows(rows, variant.bits, jnp.float16))
    )
    np.testing.assert_allclose(variants.fake_quantized(rows, variant), kept, atol=1e-6)
