import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding.bags import combine, pack, unpack
from tests.reference import embedding as reference

IDS = np.array([[0, 1, 2], [3, -1, -1], [-1, -1, -1], [4, 4, -1]], np.int32)
WEIGHTS = np.array([[1, 2, 3], [0.5, 9, 9], [9, 9, 9], [2, 2, 9]], np.float32)
TABLE = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_bags_are_combined_as_a_loop_would(combiner, weighted):
    rows = TABLE[IDS]  # -1 takes some row: padding must not count
    weights = WEIGHTS if weighted else None
    found = combine(rows, IDS, combiner, weights)
    np.testing.assert_allclose(found, reference.combine(rows, IDS, combiner, weights), rtol=1e-6)
    gradient = jax.grad(lambda rows: combine(rows, IDS, combiner, weights).sum())(jnp.asarray(rows))
    assert np.isfinite(gradient).all() and not np.asarray(gradient)[IDS < 0].any()


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_features_that_share_a_table_are_packed_and_unpacked(devices):
    features = {"history": jnp.asarray(IDS), "target": jnp.asarray([1, 2, 3, 0])}
    flat = pack(features, devices)
    assert flat.size % devices == 0 and set(flat.tolist()) == {-1, 0, 1, 2, 3, 4}
    found = unpack(jnp.asarray(TABLE)[flat], features, devices)
    for name, ids in features.items():
        np.testing.assert_array_equal(found[name], jnp.asarray(TABLE)[ids])
    if devices == 2:  # the first device has the first half of each
        assert set(flat[:8].tolist()) == {0, 1, 2, 3, -1}
