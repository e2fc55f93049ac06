from functools import cache

import jax
import numpy as np
import pytest
from flax import linen as nn

from rexjax.models.layers import Row, time_bucket
from rexjax.models.sequential import SequentialEncoder

L, D = 12, 8
KINDS = {
    "sasrec": ("sasrec", "none"),
    "gated": ("gated", "none"),
    "hstu": ("hstu", "none"),
    "gru": ("gru", "none"),
    "sasrec, history's time": ("sasrec", "history"),
    "hstu, query's time": ("hstu", "query"),
}
ENCODERS = {name: SequentialEncoder(2, 2, 0.5, L, *kind) for name, kind in KINDS.items()}
TIMES = np.cumsum(np.random.default_rng(9).integers(0, 3000, L + 1)).astype(np.int32)
every_kind = pytest.mark.parametrize("kind", KINDS)


@cache
def params(kind: str):
    ones, x = np.ones((1, L), np.int32), np.zeros((1, L, D), np.float32)
    found = ENCODERS[kind].init(jax.random.key(0), x, Row(ones, ones, np.zeros((1, L, 2), np.int32)), True)["params"]
    leaves, tree = jax.tree.flatten(jax.tree.map(np.asarray, nn.unbox(found)))
    rng = np.random.default_rng(1)  # positions, times and norms that matter
    return jax.tree.unflatten(tree, [x + 0.3 * rng.normal(size=x.shape).astype(np.float32) for x in leaves])


@cache
def _apply(kind: str, last):
    return jax.jit(lambda params, x, *row: ENCODERS[kind].apply({"params": params}, x, Row(*row), True, last))


def encode(kind: str, x, segments, positions, times, last=None):
    return np.asarray(_apply(kind, last)(params(kind), x, segments, positions, times))


def pairs(length: int, times=TIMES) -> np.ndarray:
    """Times of the first ``length`` events and of what follows each."""
    return np.stack([times[:length], times[1 : length + 1]], -1)


def alone(items: np.ndarray, times=TIMES):
    """One history [l, D] in a left-padded row; what lies in the padding must not matter."""
    x, when = np.full((1, L, D), 7.0, np.float32), np.full((1, L, 2), 5, np.int32)
    segments = np.zeros((1, L), np.int32)
    start = L - len(items)
    x[0, start:], segments[0, start:], when[0, start:] = items, 1, pairs(len(items), times)
    return x, segments, np.arange(L, dtype=np.int32)[None], when


def packed(histories: list[np.ndarray]):
    """All histories in one row, from the left, as ``rexjax.data.batches.pack`` lays them; padding on the right."""
    x, when = np.full((1, L, D), -3.0, np.float32), np.zeros((1, L, 2), np.int32)
    segments, positions = np.zeros((1, L), np.int32), np.zeros((1, L), np.int32)
    start = 0
    for number, items in enumerate(histories, 1):
        stop = start + len(items)
        x[0, start:stop], segments[0, start:stop], when[0, start:stop] = items, number, pairs(len(items))
        positions[0, start:stop] = np.arange(L - len(items), L)
        start = stop
    return x, segments, positions, when


@every_kind
@pytest.mark.parametrize("lengths", [(12,), (5, 7), (4, 3, 2, 1)])
def test_packing_is_exact(kind, lengths):
    rng = np.random.default_rng(2)
    histories = [rng.normal(size=(n, D)).astype(np.float32) for n in lengths]
    found, start = encode(kind, *packed(histories)), 0
    for items in histories:
        expected = encode(kind, *alone(items))[0, L - len(items) :]
        np.testing.assert_allclose(found[0, start : start + len(items)], expected, rtol=0, atol=2e-5)
        start += len(items)


@every_kind
def test_it_is_causal(kind):
    items = np.random.default_rng(3).normal(size=(L, D)).astype(np.float32)
    changed, later = items.copy(), TIMES.copy()
    changed[6, 0] += 2.0
    later[7:] += 10**6  # when the event after the one at 6 happens: known at 6 only with the query's time
    before = encode(kind, *alone(items))[0]
    after = encode(kind, *alone(changed))[0]
    np.testing.assert_array_equal(before[:6], after[:6])
    assert (np.abs(before[6:] - after[6:]).max(-1) > 1e-4).all()
    moved = np.abs(before - encode(kind, *alone(items, later))[0]).max(-1) > 1e-5
    known = {"none": L, "history": 7, "query": 6}[KINDS[kind][1]]
    np.testing.assert_array_equal(moved, np.arange(L) >= known)


@every_kind
def test_order_matters(kind):
    items = np.random.default_rng(4).normal(size=(5, D)).astype(np.float32)
    swapped = items[[1, 0, 2, 3, 4]]
    assert np.abs(encode(kind, *alone(items))[0, -1] - encode(kind, *alone(swapped))[0, -1]).max() > 1e-3


@every_kind
@pytest.mark.parametrize("last", [1, 3, L])
@pytest.mark.parametrize("length", [4, L])
def test_last_is_the_end_of_the_whole_output(kind, last, length):
    row = alone(np.random.default_rng(5).normal(size=(length, D)).astype(np.float32))
    found = encode(kind, *row, last)
    assert found.shape == (1, last, D)
    real = row[1][0, -last:] > 0
    np.testing.assert_allclose(found[0, real], encode(kind, *row)[0, -last:][real], rtol=0, atol=1e-5)


@every_kind
def test_dropout_only_where_it_is_asked_for(kind):
    row = alone(np.random.default_rng(6).normal(size=(L, D)).astype(np.float32))
    x, *rest = row

    def apply(k):
        return ENCODERS[kind].apply({"params": params(kind)}, x, Row(*rest), False, rngs={"dropout": jax.random.key(k)})

    assert np.abs(np.asarray(apply(0)) - np.asarray(apply(1))).max() > 1e-3
    np.testing.assert_array_equal(encode(kind, *row), encode(kind, *row))


def test_time_buckets_are_those_of_the_formula():
    ages = np.asarray([-5, 0, 1, 2, 60, 3600, 86400, 2**31 - 1], np.int32)
    expected = [0, 0] + [1 + int(np.log(age) / 0.301) for age in ages[2:].tolist()]
    assert np.asarray(time_bucket(ages)).tolist() == expected and max(expected) < 80
