import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding import features, order
from rexjax.embedding import table as tables
from rexjax.embedding.bags import Feature
from rexjax.embedding.optimizers import Sgd
from rexjax.embedding.table import Table
from rexjax.errors import UserError
from rexjax.runtime.mesh import make_mesh
from tests.reference.embedding import feature_vectors

V, D, B, K = 53, 4, 16, 3
SHARED = (Feature("target"), Feature("basket", "mean"), Feature("tags", "sqrtn"), Feature("words", "sum"))
RNG = np.random.default_rng(0)
IDS = {"target": RNG.integers(-1, V, B), "basket": RNG.integers(-1, V, (B, K)), "tags": RNG.integers(-1, 5, (B, K))}
IDS = {name: ids.astype(np.int32) for name, ids in IDS.items()}
WEIGHTS = {"tags": RNG.uniform(0.5, 2, (B, K)).astype(np.float32)}


def loss(vectors: dict[str, jax.Array]) -> jax.Array:
    known = jnp.where((IDS["target"] >= 0)[:, None], vectors["target"], 0)
    return jnp.sum(known * jnp.sin(vectors["basket"]) + vectors["tags"] ** 2)


@pytest.mark.parametrize("mesh", [(1, 1), (8, 1)], ids=str)
def test_features_share_a_table_in_one_exchange_as_declared(mesh):
    mesh, table = make_mesh(*mesh), Table("shop", V, D, features=SHARED, optimizer=Sgd(1.0))
    state = tables.create(table, jax.random.key(0), mesh)
    before = order.to_logical(state.packed, mesh)[:V]

    @jax.jit
    def step(state):
        routing = features.route(IDS, table, mesh)
        (rows, _), _ = tables.gather(state, routing, jnp.int32(0), table, mesh)

        def found(rows):
            return features.vectors(rows, routing, IDS, table, mesh, WEIGHTS)

        gradients = jax.grad(lambda rows: loss(found(rows)))(rows)
        return found(rows), tables.update(state, routing, gradients, jnp.int32(0), jax.random.key(0), table, mesh)[0]

    found, state = step(state)
    expected = feature_vectors(before, SHARED, IDS, WEIGHTS)
    for name in ("basket", "tags"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-7)
    known = IDS["target"] >= 0
    np.testing.assert_array_equal(found["target"][known], expected["target"][known])
    moved = before - jax.grad(lambda rows: loss(feature_vectors(rows, SHARED, IDS, WEIGHTS)))(before)
    np.testing.assert_allclose(order.to_logical(state.packed, mesh)[:V], moved, rtol=1e-5, atol=1e-6)


def test_a_feature_that_is_not_declared_is_refused_in_a_sentence():
    table, mesh = Table("shop", V, D, features=SHARED[:2]), make_mesh(1, 1)
    with pytest.raises(UserError, match="table 'shop' has no feature 'colour': it has target, basket"):
        features.route({"colour": jnp.zeros(8, jnp.int32)}, table, mesh)
