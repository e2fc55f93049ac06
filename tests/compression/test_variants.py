import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.compression import variants
from rexjax.compression.product_codes import ProductCodes
from rexjax.compression.quantize import Integers
from rexjax.compression.storage import Float32
from rexjax.embedding.rows import plain_rows
from rexjax.errors import UserError
from rexjax.models.served import Served
from tests.reference.compression import nearest_codes


@pytest.mark.parametrize(
    ("name", "width", "storage", "item_bytes"),
    [
        ("int8", 48, Integers(8), 50),
        ("int4", 48, Integers(4), 26),
        ("half", 24, Float32(), 96),
        ("w12", 12, Float32(), 48),
        ("w12_int8", 12, Integers(8), 14),
        ("half_int4", 24, Integers(4), 14),
        ("sparse50", 48, Float32(), 192),
        ("w12_int8_sparse5", 12, Integers(8), 14),
        ("pq16", 48, ProductCodes(16), 16),
        ("half_pq8", 24, ProductCodes(8), 8),
        ("w12_pq12_sparse5", 12, ProductCodes(12), 12),
    ],
)
def test_a_name_says_width_and_storage(name, width, storage, item_bytes):
    assert variants.parse(name, 48)[:3] == (name, width, storage)
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
        ("pq", "a variant is int8"),
        (
            "pq4",
            "--compress.variants pq4: 4 bytes an item do not divide rows that are 6 wide; choose one of pq1, pq2, pq3",
        ),
        ("pq0", "0 bytes an item do not divide"),
        ("half_pq6", "6 bytes an item do not divide rows that are 3 wide; choose one of pq1, pq3"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name, words):
    with pytest.raises(UserError, match=words):
        variants.parse(name, 6)


@pytest.mark.parametrize("name", ["half", "int8", "int4", "pq4", "pq2"])
def test_training_sees_the_rows_as_they_are_kept(name):
    rng, popularity = np.random.default_rng(0), np.arange(300) % 7
    rows = jnp.asarray(rng.normal(size=(300, 8)), jnp.float32)
    variant = variants.parse(name, 8)
    quantizer = variant.storage.quantizer(Served(rows, {}), popularity, 0)
    moved = rows + 0.1 * jnp.asarray(rng.normal(size=rows.shape), jnp.float32)
    content = jnp.zeros((300, 0)) if quantizer.content is None else jnp.asarray(quantizer.content)
    seen = moved if quantizer.fake is None else quantizer.fake(moved, content)
    kept = plain_rows(quantizer.store(Served(moved, {})).items)
    np.testing.assert_allclose(seen[popularity > 0], kept[popularity > 0], rtol=1e-3, atol=1e-5)  # books in float16


def test_items_that_training_never_met_get_the_nearest_codes():
    rng, popularity = np.random.default_rng(0), np.arange(300) % 2
    rows = rng.normal(size=(300, 8)).astype(np.float32)
    quantizer = variants.parse("pq4", 8).storage.quantizer(Served(jnp.asarray(rows), {}), popularity, 0)
    moved = np.where(popularity[:, None] > 0, rows, -rows)
    kept = quantizer.store(Served(jnp.asarray(moved), {})).items
    expected = np.where(popularity[:, None] > 0, quantizer.content[:, :-1], nearest_codes(moved, kept.books))
    np.testing.assert_array_equal(kept.codes, expected)
