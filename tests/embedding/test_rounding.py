import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding.rounding import stochastic_bfloat16


def test_rounding_is_right_on_average_and_to_a_neighbour():
    x = jnp.full((4000, 16), 1 + 2**-9, jnp.float32)  # a quarter of the way from 1 to its neighbour 1 + 2^-7
    found = np.asarray(stochastic_bfloat16(x, jax.random.key(0), jnp.arange(4000)), np.float32)
    assert set(np.unique(found)) == {1.0, np.float32(1 + 2**-7)}
    assert abs((found > 1).mean() - 0.25) < 0.01


def test_what_needs_no_rounding_stays():
    x = jnp.array([[0.0, -0.0, 1.5, jnp.inf, -jnp.inf, jnp.nan]], jnp.float32)
    found = stochastic_bfloat16(x, jax.random.key(0), jnp.arange(1))
    np.testing.assert_array_equal(np.asarray(found, np.float32), x)
