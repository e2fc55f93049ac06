import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rexjax.models.layers import Row, causal_mask
from rexjax.models.recurrent import RecurrentBlock, starts_of
from rexjax.models.sequential import SequentialEncoder
from rexjax.runtime.mesh import make_mesh, sharding

B, L, D = 16, 6, 8


@pytest.mark.parametrize(
    ("segments", "starts"),
    [
        ([1, 1, 1, 1], [1, 0, 0, 0]),
        ([1, 1, 2, 2], [1, 0, 1, 0]),
        ([0, 0, 1, 1], [1, 1, 1, 0]),
        ([1, 2, 0, 0], [1, 1, 1, 1]),
    ],
)
def test_a_state_starts_where_a_history_does(segments, starts):
    found = starts_of(causal_mask(np.asarray([segments], np.int32)))
    np.testing.assert_array_equal(found[0], np.asarray(starts, bool))


def test_it_has_one_product_of_all_inputs_and_one_in_a_step():
    x, mask = np.zeros((2, L, D), np.float32), np.ones((2, L, L), bool)
    module = RecurrentBlock(heads=0, dropout=0.0)
    variables = nn.unbox(module.init(jax.random.key(0), x, mask, None, L, True))
    equations = jax.make_jaxpr(lambda x: module.apply(variables, x, mask, None, 1, True))(x).eqns
    (scan,) = (equation for equation in equations if equation.primitive.name == "scan")
    step = scan.params["jaxpr"].eqns
    products = [equation.outvars[0].aval.shape for equation in step if equation.primitive.name == "dot_general"]
    assert products == [(2, 3 * D)] and scan.params["length"] == L
    outside = [equation.outvars[0].aval.shape for equation in equations if equation.primitive.name == "dot_general"]
    assert outside == [(2, L, 3 * D), (2, 1, D)]  # the last product is of the position that is asked for


def test_eight_devices_compute_what_one_does():
    rng = np.random.default_rng(7)
    module = SequentialEncoder(2, 0, 0.5, L, "gru")
    x, segments = rng.normal(size=(B, L, D)).astype(np.float32), np.sort(rng.integers(0, 3, (B, L)), 1)
    batch = x, Row(segments.astype(np.int32), np.broadcast_to(np.arange(L, dtype=np.int32), (B, L)))
    params = nn.unbox(module.init(jax.random.key(0), *batch, True))

    @jax.jit
    def loss(params, x, row):
        return jnp.mean(module.apply(params, x, row, True) ** 4)

    one = jax.value_and_grad(loss)(params, *batch)
    placed = jax.device_put(batch, sharding(make_mesh(4, 2), "batch"))
    chex.assert_trees_all_close(jax.value_and_grad(loss)(params, *placed), one, rtol=1e-4, atol=1e-6)
