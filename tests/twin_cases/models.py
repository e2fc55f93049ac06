"""Blocks, the pooled student and the two towers."""

import jax
import numpy as np
from flax import linen as nn

from rexjax.models.layers import Row
from rexjax.models.pair_networks import ReluLayers
from rexjax.models.pooled import PooledEncoder
from rexjax.models.towers import UserTower
from tests.reference import models
from tests.twin_cases import case, close, normal


@case("models.layers:causal_mask")
def compare_causal_mask(fast, twin, rng):
    segments = np.sort(rng.integers(0, 4, (3, 7)), axis=1).astype(np.int32)
    np.testing.assert_array_equal(fast(segments), twin(segments))


@case("models.layers:attend_causally")
def compare_attend_causally(fast, twin, rng):
    length, queries = 150, 140  # three chunks of queries
    q, k, v = normal(rng, 1, queries, 2, 4), normal(rng, 1, length, 2, 4), normal(rng, 1, length, 2, 4)
    mask = models.causal_mask(np.ones((1, length), np.int32))[:, -queries:]
    bias = normal(rng, 1, 2, queries, length)
    close(fast(models.attend, q, k, v, mask, bias), twin(q, k, v, mask, bias).transpose(0, 2, 1, 3))


@case("models.layers:Attention")
def compare_attention(fast, twin, rng):
    module, x = fast(heads=2, dropout=0.0), normal(rng, 2, 5, 8)
    mask = models.causal_mask(np.ones((2, 5), np.int32))
    shapes = nn.unbox(jax.eval_shape(lambda: module.init(jax.random.key(0), x, x, mask, None, True)))
    params = jax.tree.map(lambda leaf: 0.5 * normal(rng, *leaf.shape), shapes)
    found = jax.jit(module.apply, static_argnums=5)(params, x, x, mask, None, True)
    close(found, twin(params["params"], x, mask))


@case("models.recurrent:RecurrentBlock")
def compare_recurrence(fast, twin, rng):
    """Padding and three histories in one row."""
    module, x, segments = fast(heads=0, dropout=0.5), normal(rng, 1, 9, 6), np.asarray([[0, 1, 1, 1, 1, 2, 3, 3, 3]])
    mask = models.causal_mask(segments)
    shapes = nn.unbox(jax.eval_shape(lambda: module.init(jax.random.key(0), x, mask, None, 9, True)))
    params = jax.tree.map(lambda leaf: 0.5 * normal(rng, *leaf.shape), shapes)
    found = jax.jit(module.apply, static_argnums=(4, 5))(params, x, mask, None, 9, True)
    for number in (1, 2, 3):
        close(found[segments == number], twin(params["params"], x[segments == number]))


def perturbed(module: PooledEncoder | UserTower, rng: np.random.Generator, width: int):
    """Random parameters, biases too."""
    ones = np.ones((1, module.length), np.int32)
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), np.zeros((1, module.length, width)), Row(ones, ones), True)
    )
    return jax.tree.map(lambda leaf: 0.5 * normal(rng, *leaf.shape), shapes["params"])


@case("models.pooled:PooledEncoder", "models.towers:UserTower")
def compare_pooled(fast, twin, rng):
    """Two histories packed into one row."""
    module = fast(kernels=3, hidden=10, dropout=0.5, length=9)
    params, items = perturbed(module, rng, 6), normal(rng, 9, 6)
    segments, positions = np.repeat([1, 2], [5, 4])[None], np.r_[4:9, 5:9][None]
    found = jax.jit(module.apply, static_argnums=3)({"params": params}, items[None], Row(segments, positions), True)[0]
    expected = [twin(params, items[start : stop + 1]) for stop in range(9) for start in [0 if stop < 5 else 5]]
    close(found, np.stack(expected))


@case("models.towers:ItemTower")
def compare_item_tower(fast, twin, rng):
    module, rows, text = fast(width=4, fusion="add", hidden=7), normal(rng, 5, 4), normal(rng, 5, 3)
    shapes = nn.unbox(jax.eval_shape(lambda: module.init(jax.random.key(0), rows, text)))
    params = jax.tree.map(lambda leaf: 0.5 * normal(rng, *leaf.shape), shapes)
    close(module.apply(params, rows, text), twin(params["params"], rows, text))


@case(*(f"models.fusion:{kind}" for kind in ("Summed", "GatedMixture", "ConcatenatedLayers", "AttendedMixture")))
def compare_fused(fast, twin, rng):
    """Items with both modalities, with one, and with none."""
    more = {"AttendedMixture": {"heads": 2}, "ConcatenatedLayers": {"hidden": 5}}.get(fast.function.__name__, {})
    module, vectors = fast(4, (3, 2), **more), normal(rng, 4, 5)
    vectors[1, :3], vectors[2, 3:], vectors[3] = 0, 0, 0
    shapes = nn.unbox(jax.eval_shape(lambda: module.init(jax.random.key(0), vectors)))["params"]
    params = jax.tree.map(lambda leaf: 0.5 * normal(rng, *leaf.shape), shapes)
    heads = {"heads": 2} if "heads" in more else {}
    expected = np.stack([twin(params, [row[:3], row[3:]], **heads) for row in vectors])
    close(jax.jit(module.apply)({"params": params}, vectors), expected)


@case("models.pooled:contributions")
def compare_contributions(fast, twin, rng):
    params = perturbed(PooledEncoder(kernels=3, hidden=10, dropout=0.0, length=6), rng, 4)
    items, item = normal(rng, 6, 4), normal(rng, 4)
    item /= np.linalg.norm(item)
    found = jax.jit(fast)(params, items[None], np.ones((1, 6), bool), item[None])[0]
    close(found, twin(params, items, item), 1e-4)


@case("models.rating_towers:tower")
def compare_tower(fast, twin, rng):
    layers, matrix = ReluLayers((5, 3)), normal(rng, 7, 6) * (rng.random((7, 6)) < 0.5)
    shapes = jax.eval_shape(lambda: layers.init(jax.random.key(0), np.zeros((1, 4))))["params"]
    params = {"kernel": normal(rng, 6, 4), "layers": jax.tree.map(lambda leaf: normal(rng, *leaf.shape), shapes)}
    rows, columns = np.nonzero(matrix)
    found = jax.jit(fast, static_argnums=(0, 5))(layers, params, rows, columns, matrix[rows, columns], 7)
    close(found, twin(params, matrix))
