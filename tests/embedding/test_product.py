import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding import product
from rexjax.embedding.product import CENTROIDS, ProductRows
from rexjax.errors import UserError
from rexjax.runtime.mesh import make_mesh, sharding
from tests.reference import compression as reference

N, D, M = 600, 8, 2
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(N, D)).astype(np.float32) * np.linspace(2, 0.2, D, dtype=np.float32)
ONES = jnp.ones(N)


def error(books, weights=ONES):
    back = np.asarray(product.decode(product.nearest_codes(jnp.asarray(ROWS), books), books))
    return float((np.asarray(weights) * ((back - ROWS) ** 2).sum(1)).sum())


def test_k_means_takes_a_row_apart_from_others_and_improves_on_it():
    first, few, more = (product.fit_books(ROWS, ONES, M, 0, rounds) for rounds in (0, 1, 25))
    assert first.shape == (M, CENTROIDS, D // M)
    for book, part in zip(np.asarray(first), np.split(ROWS, M, 1), strict=True):
        assert len(np.unique(book, axis=0)) == CENTROIDS and (book[:, None] == part).all(-1).any(1).all()
    assert error(first) > error(few) > error(more)


def test_the_seed_alone_decides():
    books = [np.asarray(product.fit_books(ROWS, ONES, M, seed, 2)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(books[0], books[1])
    assert (books[0] != books[2]).any()


def test_heavy_rows_are_kept_best():
    weights = jnp.where(jnp.arange(N) < 50, 1000.0, 1.0)
    plain, weighted = (product.fit_books(ROWS, each, M, 0, 10) for each in (ONES, weights))
    assert error(weighted, weights) < 0.2 * error(plain, weights)


@pytest.mark.parametrize("items", [1, 5, CENTROIDS])
def test_as_many_rows_as_centroids_are_kept_exactly(items):
    rows = jnp.asarray(ROWS[:items])
    books = product.fit_books(rows, jnp.ones(items), M, 0)
    np.testing.assert_allclose(product.decode(product.nearest_codes(rows, books), books), rows, atol=1e-6)


def test_bytes_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match="rows are 8 wide, which 3 bytes do not divide: choose a divisor"):
        product.fit_books(ROWS, ONES, 3)


def test_gradients_reach_the_books_of_a_cell_by_weight():
    rows, codes = jnp.asarray(ROWS[:3, :2]), jnp.zeros((3, 1), jnp.int32)
    before, weights = jnp.zeros((1, CENTROIDS, 2)), jnp.asarray([1.0, 3.0, 0.0])

    def decoded(rows):
        return product.decode(codes, product.weighted_centroids(rows, codes, weights, before)).sum()

    np.testing.assert_allclose(jax.grad(decoded)(rows), 3 * np.asarray([[0.25] * 2, [0.75] * 2, [0] * 2]), atol=1e-6)


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
def test_axes_are_turned_so_that_books_get_like_shares(parts):
    axes = np.asarray(product.balanced_axes(jnp.asarray(ROWS), ONES, parts))
    np.testing.assert_allclose(axes.T @ axes, np.eye(D), atol=1e-5)
    turned = ROWS @ axes
    np.testing.assert_allclose(np.cov(turned.T, bias=True) * (1 - np.eye(D)), 0, atol=0.1)
    shares = (np.log((turned**2).mean(0))).reshape(parts, -1).sum(1)
    plain = np.log(np.sort((turned**2).mean(0))).reshape(parts, -1).sum(1)
    assert np.ptp(shares) <= np.ptp(plain) + 1e-4


def test_new_rows_get_the_nearest_codes_of_the_same_books():
    books = jnp.asarray(RNG.normal(size=(M, CENTROIDS, D // M)), jnp.float16)
    kept = ProductRows(jnp.zeros((2, M), jnp.uint8), books)
    new = kept.alike(jnp.asarray(ROWS[:5]))
    assert new.books is books and new.codes.dtype == jnp.uint8 and new.width == D
    np.testing.assert_array_equal(new.codes, reference.nearest_codes(ROWS[:5], books))


def test_rows_over_a_mesh_have_the_books_and_gradients_of_one_device():
    rng, before = np.random.default_rng(1), jnp.zeros((M, CENTROIDS, D // M))
    codes, weights = rng.integers(0, 256, (N, M)), rng.integers(0, 4, N).astype(np.float32)
    over = sharding(make_mesh(8, 1), "rows")

    def loss(rows, codes, weights):
        back = product.decode(codes, product.weighted_centroids(rows, codes, weights, before))
        return (back**3).sum(), back

    both = jax.value_and_grad(loss, has_aux=True)
    (_, expected), gradient = both(jnp.asarray(ROWS), jnp.asarray(codes), jnp.asarray(weights))
    (_, found), theirs = jax.jit(both, in_shardings=over)(ROWS, codes, weights)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(theirs, gradient, atol=1e-4)
