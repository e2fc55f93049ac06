import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.compression import quantize
from rexjax.embedding import quantized
from rexjax.embedding.quantized import QuantizedRows
from rexjax.errors import UserError
from rexjax.models.served import Served
from tests.reference import compression as reference


@pytest.mark.parametrize("shape", [(9, 16), (1, 1), (3, 4, 5)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_error_is_at_most_half_a_scale(shape, size):
    rows = (np.random.default_rng(0).normal(size=shape) * size).astype(np.float32)
    found = quantized.quantize_rows(jnp.asarray(rows))
    assert found.values.dtype == jnp.int8 and found.values.shape == shape
    assert found.scales.dtype == jnp.float32 and found.scales.shape == (*shape[:-1], 1)
    np.testing.assert_allclose(found.scales, np.abs(rows).max(-1, keepdims=True) / 127, rtol=1e-6)
    assert np.abs(np.asarray(found.values, int)).max(-1).min() == 127  # the whole range is used
    error = np.abs(np.asarray(quantized.dequantize(found), np.float64) - rows)
    assert (error <= np.asarray(found.scales) * 0.5 * (1 + 1e-4)).all()


def test_zeros_stay_zeros():
    rows = jnp.asarray([[0.0, 0.0, 0.0], [0.0, 5.0, -2.5]])
    found = quantized.quantize_rows(rows)
    np.testing.assert_array_equal(found.values, [[0, 0, 0], [0, 127, -64]])
    back = quantized.dequantize(found)
    assert back.dtype == jnp.float32
    np.testing.assert_array_equal(back[0], 0), np.testing.assert_array_equal(back[1, 0], 0)


def test_four_times_fewer_bytes():
    rows = jnp.ones((10, 64), jnp.float32)
    found = quantized.quantize_rows(rows)
    assert found.values.nbytes * 4 == rows.nbytes
    assert found.scales.nbytes == 10 * 4


@pytest.mark.parametrize("bits", quantized.BITS)
def test_item_rows_keep_their_scales_in_two_bytes(bits):
    rows = np.random.default_rng(5).normal(size=(40, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[0] = 0
    found = quantize.quantize(Served(jnp.asarray(rows), {}), bits).items
    assert found.scales.dtype == jnp.float16 and found.scales.shape == (40, 1)
    back = np.asarray(quantized.dequantize(found))
    assert back.dtype == np.float32 and not back[0].any()
    plain = np.asarray(quantized.dequantize(quantized.quantize_rows(jnp.asarray(rows), bits)))
    # a scale is off by 2^-11 of itself at most, and numbers are rounded by the scale that is kept
    assert ((back - rows) ** 2).sum() <= ((plain - rows) ** 2).sum() * (1.02 if bits == 8 else 1.001)


def test_kernels_of_a_tree_are_quantised_and_nothing_else():
    rng = np.random.default_rng(1)
    shapes = {"up": {"kernel": (4, 3), "bias": (3,)}, "q": {"kernel": (2, 3, 4)}, "decay": (4, 6)}

    def is_shape(x):
        return isinstance(x, tuple)

    tree = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s), jnp.float32), shapes, is_leaf=is_shape)
    small = quantize.quantize_tree(tree)
    for name in ("up", "q"):
        assert isinstance(small[name]["kernel"], QuantizedRows)
        np.testing.assert_array_equal(
            quantized.dequantize_tree(small)[name]["kernel"], quantized.dequantize(small[name]["kernel"])
        )
    assert small["up"]["bias"] is tree["up"]["bias"] and small["decay"] is tree["decay"]
    back = quantized.dequantize_tree(small)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    again = quantize.quantize_tree(back)
    np.testing.assert_array_equal(again["up"]["kernel"].values, small["up"]["kernel"].values)


def test_a_tree_without_quantised_leaves_passes():
    tree = {"a": jnp.ones((2, 2)), "b": {"c": jnp.zeros(3)}}
    found = quantized.dequantize_tree(tree)
    assert found["a"] is tree["a"] and found["b"]["c"] is tree["b"]["c"]


@pytest.mark.parametrize("width", [2, 16, 60])
def test_int4_rows_are_packed_two_a_byte_and_come_back_in_order(width):
    rows = np.random.default_rng(2).normal(size=(5, 3, width)).astype(np.float32)
    found = quantized.quantize_rows(jnp.asarray(rows), 4)
    assert found.values.dtype == jnp.uint8 and found.values.shape == (5, 3, width // 2)
    flat = QuantizedRows(found.values.reshape(15, -1), found.scales.reshape(15, 1))
    numbers, scales = reference.quantize_rows(rows.reshape(15, width), 4)
    np.testing.assert_array_equal(reference.unpack(flat), numbers)
    np.testing.assert_array_equal(quantized.numbers(flat), numbers)
    np.testing.assert_allclose(flat.scales, scales, rtol=1e-6)
    np.testing.assert_allclose(quantized.dequantize(flat), reference.dequantize(flat), rtol=1e-6)


def test_int4_scales_err_less_than_those_that_reach_the_largest_entry():
    rows = np.random.default_rng(3).normal(size=(200, 64)).astype(np.float32)
    found = quantized.dequantize(quantized.quantize_rows(jnp.asarray(rows), 4))
    scales = np.abs(rows).max(1, keepdims=True) / 7
    plain = np.round(rows / scales) * scales
    ours, theirs = (((x - rows) ** 2).sum(1) for x in (np.asarray(found), plain))
    assert (ours <= theirs * 1.0001).all() and ours.mean() < 0.9 * theirs.mean()


@pytest.mark.parametrize("bits", quantized.BITS)
def test_training_sees_the_rounded_rows_and_passes_the_gradient(bits):
    rows = jnp.asarray(np.random.default_rng(4).normal(size=(6, 8)), jnp.float32)
    seen = quantized.straight_through(rows, bits)
    np.testing.assert_allclose(seen, quantized.dequantize(quantized.quantize_rows(rows, bits)), atol=1e-6)
    weights = jnp.arange(48.0).reshape(6, 8)
    gradient = jax.grad(lambda rows: (weights * quantized.straight_through(rows, bits)).sum())(rows)
    np.testing.assert_array_equal(gradient, weights)


def test_zeros_stay_zeros_in_int4():
    np.testing.assert_array_equal(quantized.dequantize(quantized.quantize_rows(jnp.zeros((2, 4)), 4)), 0)


def test_int4_rows_of_an_odd_width_are_refused():
    with pytest.raises(UserError, match="int4 rows keep two numbers a byte, and 7 is odd"):
        quantized.quantize_rows(jnp.ones((3, 7)), 4)
