import jax
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from rexjax.models import layers
from rexjax.models.sequential import BLOCKS
from tests.reference import models as reference

B, L, D, H = 2, 5, 8, 2


@pytest.mark.parametrize(
    "segments, allowed",
    [
        ([1, 1, 1], [[1, 0, 0], [1, 1, 0], [1, 1, 1]]),
        ([0, 1, 1], [[0, 0, 0], [0, 1, 0], [0, 1, 1]]),
        ([1, 1, 2], [[1, 0, 0], [1, 1, 0], [0, 0, 1]]),
        ([1, 2, 0], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        ([0, 0, 0], np.zeros((3, 3))),
    ],
)
def test_causal_mask(segments, allowed):
    found = layers.causal_mask(np.asarray([segments], np.int32))
    assert found.dtype == bool
    np.testing.assert_array_equal(found[0], np.asarray(allowed, bool))


def _attention(x, mask):
    module = layers.Attention(heads=H, dropout=0.0)
    variables = nn.unbox(module.init(jax.random.key(0), x, x, mask, None, True))
    return module.apply(variables, x, x, mask, None, True), jax.tree.map(np.asarray, variables["params"])


def test_attention_equals_the_formula():
    x = np.random.default_rng(0).normal(size=(B, L, D)).astype(np.float32)
    mask = np.broadcast_to(np.tril(np.ones((L, L), bool)), (B, L, L))
    found, p = _attention(x, mask)
    np.testing.assert_allclose(found, reference.multi_head_attention(p, x, mask), rtol=0, atol=1e-5)


def test_a_query_that_may_look_at_nothing_is_finite():
    x = np.ones((1, L, D), np.float32)
    found, _ = _attention(x, np.zeros((1, L, L), bool))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("length, queries", [(5, 5), (5, 2), (7, 3), (8, 8), (1, 1)])
def test_attention_in_chunks_equals_attention_at_once(length, queries, monkeypatch):
    rng = np.random.default_rng(3)
    q, k, v = (rng.normal(size=(B, n, H, 4)).astype(np.float32) for n in (queries, length, length))
    mask = layers.causal_mask(rng.integers(1, 3, (B, length)).astype(np.int32))[:, -queries:]
    bias = rng.normal(size=(B, H, queries, length)).astype(np.float32)
    widths = []

    def attend(q, k, v, mask, bias):
        widths.append(k.shape[1])
        return reference.attend(q, k, v, mask, bias)

    whole = attend(q, k, v, np.asarray(mask), bias).transpose(0, 2, 1, 3)
    monkeypatch.setattr(layers, "QUERIES", 3)
    found = layers.attend_causally(attend, q, k, v, np.asarray(mask), bias)
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-6)
    assert widths[-1] == length and sorted(widths[1:]) == widths[1:]
    assert len(widths) - 1 == -(-queries // 3)


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_returns_the_positions_that_are_asked_for(kind):
    x = np.random.default_rng(1).normal(size=(B, L, D)).astype(np.float32)
    mask = layers.causal_mask(np.ones((B, L), np.int32))
    module = BLOCKS[kind](heads=H, dropout=0.0)
    bias = np.random.default_rng(2).normal(size=(B, H, L, L)).astype(np.float32)
    variables = nn.unbox(module.init(jax.random.key(0), x, mask, bias, L, True))
    whole, last = (module.apply(variables, x, mask, bias, queries, True) for queries in (L, 2))
    assert whole.shape == (B, L, D) and last.shape == (B, 2, D)
    np.testing.assert_allclose(last, whole[:, -2:], rtol=0, atol=1e-5)


def test_block_names_its_logical_axes():
    x, mask = np.zeros((1, L, D), np.float32), np.ones((1, L, L), bool)
    shapes = jax.eval_shape(lambda: layers.Block(heads=H, dropout=0.0).init(jax.random.key(0), x, mask, None, L, True))
    specs = nn.get_partition_spec(shapes)["params"]
    assert specs["Attention_0"]["q"]["kernel"] == P("embed", "heads", "head")
    assert specs["Attention_0"]["out"]["kernel"] == P("heads", "head", "embed")
    assert specs["up"]["kernel"] == P("embed", "mlp")
    assert specs["down"]["kernel"] == P("mlp", "embed")


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    drop, x = layers.Dropout(rate), np.ones((400, 500), np.float32)

    def apply(seed):
        return np.asarray(drop.apply({}, x, False, rngs={"dropout": jax.random.key(seed)}))

    found = apply(0)
    assert abs((found == 0).mean() - rate) < 0.005 and abs(found.mean() - 1) < 0.02
    np.testing.assert_allclose(found[found > 0], 1 / (1 - rate), rtol=0.02)
    np.testing.assert_array_equal(found, apply(0))
    assert (found != apply(1)).mean() > rate * (1 - rate)  # 2 r (1 - r) where keys are independent


def test_dropout_is_independent_of_neighbours():
    drop, x = layers.Dropout(0.5), np.ones((64, 8, 1024), np.float32)
    dropped = np.asarray(drop.apply({}, x, False, rngs={"dropout": jax.random.key(0)})) == 0
    deviation = 0.5 / np.sqrt(dropped.size)  # of a mean of that many coins
    for axis in range(3):
        same = dropped == np.roll(dropped, 1, axis)
        assert abs(same.mean() - 0.5) < 5 * deviation
    counts = dropped.reshape(-1, 1024).sum(1)
    assert abs(counts.var() / 256 - 1) < 0.25  # binomial: 1024 / 4


def test_no_dropout_needs_no_key():
    x = np.ones(3, np.float32)
    assert layers.Dropout(0.0).apply({}, x, False) is x and layers.Dropout(0.5).apply({}, x, True) is x
