import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.compression.prune import magnitude_prune
from rexjax.errors import UserError
from rexjax.models.recommender import Served


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_the_smallest_share_of_every_matrix_is_zeroed(sparsity):
    rng = np.random.default_rng(0)
    history = {
        "up": {"kernel": rng.normal(size=(7, 5)) * 100, "bias": rng.normal(size=5)},
        "q": rng.normal(size=(2, 3, 4)),
    }
    served = Served(rng.normal(size=(11, 6)), history)
    served = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), served)
    pruned = magnitude_prune(served, sparsity)
    assert type(pruned) is Served
    for before, after in zip(jax.tree.leaves(served), jax.tree.leaves(pruned), strict=True):
        assert after.shape == before.shape and after.dtype == before.dtype
        before, after = np.asarray(before), np.asarray(after)
        if before.ndim == 1:
            np.testing.assert_array_equal(after, before)
            continue
        dropped = after == 0
        assert dropped.sum() == int(sparsity * before.size)
        np.testing.assert_array_equal(after[~dropped], before[~dropped])
        assert np.abs(before[dropped]).max(initial=0) < np.abs(before[~dropped]).min()


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0])
def test_ties_do_not_drop_more_than_the_share(value):
    pruned = magnitude_prune({"x": jnp.full((4, 5), value)}, 0.3)["x"]
    assert (pruned == 0).sum() == (20 if value == 0 else 6)


def test_sign_does_not_matter():
    pruned = magnitude_prune({"x": jnp.asarray([[-3.0, 0.5], [-0.1, 2.0]])}, 0.5)["x"]
    np.testing.assert_array_equal(pruned, [[-3.0, 0.0], [0.0, 2.0]])


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_refuses_a_share_outside_zero_to_one(sparsity):
    with pytest.raises(UserError, match="--compress.sparsity must be at least 0 and below 1"):
        magnitude_prune({"x": jnp.ones((2, 2))}, sparsity)
