import jax
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from rexjax.models.layers import BUCKETS, Row
from rexjax.models.towers import ItemTower, UserTower

L, D, W = 6, 4, 3
ITEMS, USERS = ItemTower(D, "add", 8), UserTower(kernels=2, hidden=8, dropout=0.5, length=L, time=True)


def test_kernels_of_the_item_tower_name_their_logical_axes():
    arrays = np.zeros((1, D), np.float32), np.zeros((1, W), np.float32)
    specs = nn.get_partition_spec(jax.eval_shape(lambda: ITEMS.init(jax.random.key(0), *arrays)))["params"]
    assert specs["fused"]["text"]["kernel"] == P(None, "embed")
    assert specs["up"]["kernel"] == P("embed", "mlp") and specs["down"]["kernel"] == P("mlp", "embed")


@pytest.mark.parametrize("fusion", ["add", "gated", "text", "init_from_text"])
def test_items_without_text_are_their_rows_in_every_fusion(fusion):
    rows, tower = np.random.default_rng(0).normal(size=(5, D)).astype(np.float32), ItemTower(D, fusion, 8)
    params = tower.init(jax.random.key(0), rows, np.zeros((5, 0), np.float32))
    assert set(params["params"]) == {"up", "down"}
    assert np.linalg.norm(tower.apply(params, rows, np.zeros((5, 0), np.float32)) - rows) > 0.1


def users(events: np.ndarray, padding: float, last: int | None = None):
    """User vectors after a history [l, D] in a left-padded row, with times that matter."""
    rng = np.random.default_rng(3)
    x, segments = np.full((1, L, D), padding, np.float32), np.zeros((1, L), np.int32)
    x[0, L - len(events) :], segments[0, L - len(events) :] = events, 1
    times = np.repeat(np.arange(L, dtype=np.int32)[None, :, None] * 700, 2, -1)
    row = Row(segments, np.arange(L, dtype=np.int32)[None], times)
    params = nn.unbox(USERS.init(jax.random.key(0), x, row, True))["params"]
    params = params | {"times": rng.normal(size=(2, BUCKETS)).astype(np.float32)}
    return np.asarray(USERS.apply({"params": params}, x, row, True, last))


@pytest.mark.parametrize("length", [0, 1, 4, L])
def test_padding_and_what_is_not_asked_for_change_nothing(length):
    events = np.random.default_rng(length).normal(size=(length, D)).astype(np.float32)
    expected = users(events, 0.0)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(users(events, 9.0, last=1), expected[:, -1:], rtol=0, atol=1e-5)
