import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rexjax.encoders.reduce import apply, fit
from rexjax.errors import UserError

N, W = 200, 6
METHODS = ["pca", "whiten", "select", "none"]


def sample(rows=N, seed=0):
    """Correlated, off-centre, with well separated variances."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(rows, W)) * [3, 2, 1.3, 0.8, 0.4, 0.2] @ np.linalg.qr(rng.normal(size=(W, W)))[0]
    return (mixed + rng.normal(size=W)).astype(np.float32)


@pytest.mark.parametrize("width", [1, 3, W])
def test_pca_equals_the_singular_value_decomposition(width):
    x = sample()
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    directions *= np.sign(directions[np.arange(W), np.abs(directions).argmax(axis=1)])[:, None]
    reduction = fit(x, width, "pca")
    np.testing.assert_allclose(reduction.mean, x.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(reduction.basis, directions[:width].T, atol=1e-4)
    np.testing.assert_allclose(reduction.variances, singular[:width] ** 2 / N, rtol=1e-4)
    assert reduction.explained == pytest.approx((singular[:width] ** 2).sum() / (singular**2).sum(), abs=1e-5)
    np.testing.assert_allclose(apply(reduction, x), centred @ directions[:width].T, atol=1e-3)


@pytest.mark.parametrize("width", [1, 3, W])
def test_whitening_makes_the_covariance_one(width):
    x = sample()
    reduced = np.asarray(apply(fit(x, width, "whiten"), x), np.float64)
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(reduced.T @ reduced / N, np.eye(width), atol=1e-3)
    assert fit(x, width, "whiten").explained == fit(x, width, "pca").explained


def test_epsilon_holds_weak_directions_down():
    x = sample()
    plain, held = (fit(x, W, "whiten", epsilon=epsilon) for epsilon in (0.0, 0.5))
    expected = np.sqrt(plain.variances / (plain.variances + 0.5 * plain.variances[0]))
    np.testing.assert_allclose(held.basis, plain.basis * expected[None], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("width", [1, 3, W])
def test_selection_keeps_the_dimensions_of_largest_variance(width):
    x = sample()
    variances = np.var(x, axis=0)
    kept = np.argsort(-variances)[:width]
    reduction = fit(x, width, "select")
    np.testing.assert_array_equal(apply(reduction, x), x[:, kept])
    np.testing.assert_allclose(reduction.variances, variances[kept], rtol=1e-4)
    assert reduction.explained == pytest.approx(variances[kept].sum() / variances.sum(), abs=1e-5)


def test_none_changes_nothing():
    x = sample()
    reduction = fit(x, W, "none")
    np.testing.assert_array_equal(apply(reduction, x), x)
    np.testing.assert_allclose(reduction.variances, np.var(x, axis=0), rtol=1e-4)
    assert reduction.explained == pytest.approx(1.0)


@pytest.mark.parametrize("method", METHODS)
def test_zero_rows_are_left_out_and_stay_zero(method):
    x = sample()
    holes = np.insert(x, [0, 7, 7, N], 0.0, axis=0)
    width = W if method == "none" else 3
    full, sparse = fit(x, width, method), fit(holes, width, method)
    for one, other in zip(full, sparse, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    reduced = np.asarray(apply(sparse, holes))
    empty = ~holes.any(axis=1)
    assert empty.sum() == 4 and not reduced[empty].any()
    np.testing.assert_allclose(reduced[~empty], apply(full, x), atol=2e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_on_eight_devices_and_from_any_float(method):
    x = sample()
    width = W if method == "none" else 3
    split = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    one = fit(x, width, method)
    for again in (jax.device_put(x, split), x.astype(np.float64)):
        other = fit(again, width, method)
        assert isinstance(other.explained, float) and other.basis.dtype == jnp.float32
        np.testing.assert_allclose(other.basis, one.basis, atol=1e-4)
        np.testing.assert_allclose(apply(other, again), apply(one, x), atol=2e-3)


@pytest.mark.parametrize("method", ["pca", "select", "none"])
def test_without_variance_all_is_explained(method):
    x = np.ones((5, W), np.float32)
    reduction = fit(x, W, method)
    assert reduction.explained == 1.0
    assert np.isfinite(apply(reduction, x)).all()


@pytest.mark.parametrize(
    ("vectors", "width", "method", "words"),
    [
        (sample(), 0, "pca", "6 dimensions to 0"),
        (sample(), W + 1, "pca", "6 dimensions to 7"),
        (sample(), -1, "select", "from 1 to 6"),
        (sample(), 3, "none", "keeps all 6 dimensions, not 3"),
        (sample(), 3, "umap", "'umap': choose one of pca, whiten, select, none"),
        (sample(rows=4), 4, "whiten", "4 vectors span 3 directions, not 4"),
        (np.ones((5, W)), 1, "whiten", "span 0 directions"),
        (np.repeat(sample(), 2, axis=1)[:, :W], 4, "whiten", "200 vectors span 3 directions"),
        (np.zeros((5, W)), 2, "pca", "Of 5 vectors 0 are not zero"),
        (np.eye(W)[:1], 2, "select", "Of 1 vectors 1 are not zero"),
    ],
)
def test_what_cannot_be_reduced_is_a_users_error(vectors, width, method, words):
    with pytest.raises(UserError, match=words):
        fit(vectors, width, method)
