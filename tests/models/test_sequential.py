from functools import cache

import jax
import numpy as np
import pytest
from flax import linen as nn

from rexjax.models.sequential import SequentialEncoder

L, D = 12, 8
ENCODER = SequentialEncoder(layers=2, heads=2, dropout=0.5, length=L)


@cache
def params():
    ones = np.ones((1, L), np.int32)
    found = ENCODER.init(jax.random.key(0), np.zeros((1, L, D), np.float32), ones, ones, True)["params"]
    leaves, tree = jax.tree.flatten(jax.tree.map(np.asarray, nn.unbox(found)))
    rng = np.random.default_rng(1)  # positions and norms that matter
    return jax.tree.unflatten(tree, [x + 0.3 * rng.normal(size=x.shape).astype(np.float32) for x in leaves])


@cache
def _apply(last):
    return jax.jit(lambda params, *arrays: ENCODER.apply({"params": params}, *arrays, True, last))


def encode(x, segments, positions, last=None):
    return np.asarray(_apply(last)(params(), x, segments, positions))


def alone(items: np.ndarray):
    """One history [l, D] in a left-padded row; what lies in the padding must not matter."""
    x = np.full((1, L, D), 7.0, np.float32)
    segments = np.zeros((1, L), np.int32)
    x[0, L - len(items) :], segments[0, L - len(items) :] = items, 1
    return x, segments, np.arange(L, dtype=np.int32)[None]


def packed(histories: list[np.ndarray]):
    """All histories in one row, from the left, as ``rexjax.data.batches.pack`` lays them; padding on the right."""
    x, segments, positions = (
        np.full((1, L, D), -3.0, np.float32),
        np.zeros((1, L), np.int32),
        np.zeros((1, L), np.int32),
    )
    start = 0
    for number, items in enumerate(histories, 1):
        stop = start + len(items)
        x[0, start:stop], segments[0, start:stop] = items, number
        positions[0, start:stop] = np.arange(L - len(items), L)
        start = stop
    return x, segments, positions


@pytest.mark.parametrize("lengths", [(12,), (5, 7), (1, 1, 1), (4, 3, 2, 1), (1, 11), (3,)])
def test_packing_is_exact(lengths):
    rng = np.random.default_rng(2)
    histories = [rng.normal(size=(n, D)).astype(np.float32) for n in lengths]
    found, start = encode(*packed(histories)), 0
    for items in histories:
        expected = encode(*alone(items))[0, L - len(items) :]
        np.testing.assert_allclose(found[0, start : start + len(items)], expected, rtol=0, atol=1e-5)
        start += len(items)


def test_it_is_causal():
    items = np.random.default_rng(3).normal(size=(L, D)).astype(np.float32)
    changed = items.copy()
    changed[6, 0] += 2.0
    before, after = encode(*alone(items))[0], encode(*alone(changed))[0]
    np.testing.assert_array_equal(before[:6], after[:6])
    assert (np.abs(before[6:] - after[6:]).max(-1) > 1e-4).all()


def test_order_matters():
    items = np.random.default_rng(4).normal(size=(5, D)).astype(np.float32)
    swapped = items[[1, 0, 2, 3, 4]]
    assert np.abs(encode(*alone(items))[0, -1] - encode(*alone(swapped))[0, -1]).max() > 1e-3


@pytest.mark.parametrize("last", [1, 3, L])
@pytest.mark.parametrize("length", [1, 4, L])
def test_last_is_the_end_of_the_whole_output(last, length):
    row = alone(np.random.default_rng(5).normal(size=(length, D)).astype(np.float32))
    found = encode(*row, last)
    assert found.shape == (1, last, D)
    real = row[1][0, -last:] > 0
    np.testing.assert_allclose(found[0, real], encode(*row)[0, -last:][real], rtol=0, atol=1e-5)


def test_dropout_only_where_it_is_asked_for():
    row = alone(np.ones((L, D), np.float32))
    noisy = [
        np.asarray(ENCODER.apply({"params": params()}, *row, False, rngs={"dropout": jax.random.key(k)}))
        for k in (0, 1)
    ]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3
    np.testing.assert_array_equal(encode(*row), encode(*row))
