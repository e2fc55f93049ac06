from functools import cache

import jax
import numpy as np
import pytest

from rexjax.models.layers import BUCKETS, Row, time_bucket
from rexjax.models.pooled import PooledEncoder, contributions
from tests.reference.models import gelu, pooled_user

L, D, K = 12, 6, 3
ENCODER = PooledEncoder(kernels=K, hidden=10, dropout=0.5, length=L)


@cache
def params():
    ones = np.ones((1, L), np.int32)
    found = ENCODER.init(jax.random.key(0), np.zeros((1, L, D), np.float32), Row(ones, ones), True)["params"]
    leaves, tree = jax.tree.flatten(jax.tree.map(np.asarray, found))
    rng = np.random.default_rng(1)
    return jax.tree.unflatten(tree, [x + 0.3 * rng.normal(size=x.shape).astype(np.float32) for x in leaves])


@cache
def _apply(last):
    return jax.jit(lambda params, x, *row: ENCODER.apply({"params": params}, x, Row(*row), True, last))


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


@pytest.mark.parametrize("length", [1, 2, 7, L])
def test_equals_the_formula(length):
    items = np.random.default_rng(length).normal(size=(length, D)).astype(np.float32)
    found = encode(*alone(items))[0, L - length :]
    expected = np.stack([pooled_user(params(), items[: n + 1]) for n in range(length)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lengths", [(12,), (5, 7), (1, 1, 1), (4, 3, 2, 1), (1, 11), (3,)])
def test_packing_is_exact(lengths):
    rng = np.random.default_rng(2)
    histories = [rng.normal(size=(n, D)).astype(np.float32) for n in lengths]
    found, start = encode(*packed(histories)), 0
    for items in histories:
        expected = encode(*alone(items))[0, L - len(items) :]
        np.testing.assert_allclose(found[0, start : start + len(items)], expected, rtol=0, atol=1e-5)
        start += len(items)


@pytest.mark.parametrize("last", [1, 3, L])
@pytest.mark.parametrize("length", [1, 4, L])
def test_last_is_the_end_of_the_whole_output(last, length):
    row = alone(np.random.default_rng(5).normal(size=(length, D)).astype(np.float32))
    found = encode(*row, last)
    assert found.shape == (1, last, D)
    np.testing.assert_allclose(found, encode(*row)[:, -last:], rtol=0, atol=1e-5)


def test_profiles_start_as_decays_with_half_lives_from_one_item_to_the_whole_history():
    ones = np.ones((1, L), np.int32)
    decay = np.exp(ENCODER.init(jax.random.key(0), np.zeros((1, L, D)), Row(ones, ones), True)["params"]["decay"])
    expected = [0.5 ** (np.arange(L) / half_life) for half_life in (1, np.sqrt(L), L)]
    np.testing.assert_allclose(decay, expected, rtol=1e-5)


def test_time_weighs_by_bucket_and_starts_as_nothing():
    timed, rng = ENCODER.clone(time=True), np.random.default_rng(3)
    x, segments, positions = packed([rng.normal(size=(n, D)).astype(np.float32) for n in (5, 4)])
    moments = np.array([[0, 600, 600, 850, 900, 7, 8, 2000, 2000, 0, 0, 0]], np.int32)
    row = Row(segments, positions, np.stack([moments, moments], -1))
    tables = np.zeros((K, BUCKETS), np.float32)

    def run(times, last=None):
        return np.asarray(timed.apply({"params": params() | {"times": times}}, x, row, True, last))

    np.testing.assert_allclose(run(tables), encode(x, segments, positions), atol=1e-6)
    tables = rng.normal(size=tables.shape).astype(np.float32)
    found = run(tables)[0, 4]  # the end of the first history
    bucket = np.asarray(time_bucket(900 - moments[0, :5]))
    assert len(set(bucket.tolist())) == 4  # two at one moment
    np.testing.assert_allclose(found, pooled_user(params(), x[0, :5], tables[:, bucket]), atol=1e-5)
    np.testing.assert_allclose(run(tables, 3), run(tables)[:, -3:], atol=1e-6)


def test_padding_alone_is_finite():
    found = encode(np.ones((1, L, D), np.float32), np.zeros((1, L), np.int32), np.zeros((1, L), np.int32))
    expected = gelu(params()["up"]["bias"]) @ params()["down"]["kernel"] + params()["down"]["bias"]
    np.testing.assert_allclose(found[0], np.tile(expected, (L, 1)), atol=1e-5)


def test_dropout_only_where_it_is_asked_for():
    row = alone(np.ones((L, D), np.float32))
    x, *rest = row

    def apply(k):
        return ENCODER.apply({"params": params()}, x, Row(*rest), False, rngs={"dropout": jax.random.key(k)})

    noisy = [np.asarray(apply(k)) for k in (0, 1)]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3


@pytest.mark.parametrize("length", [0, 1, 5, L])
def test_what_each_event_gave_sums_to_the_cosine_and_is_linear_in_what_it_says(length):
    rng = np.random.default_rng(length)
    x, segments, positions = alone(rng.normal(size=(length, D)).astype(np.float32))
    item = rng.normal(size=(1, D)).astype(np.float32)
    item /= np.linalg.norm(item)
    given = np.asarray(contributions(params(), np.where(segments[..., None] > 0, x, 0), segments > 0, item))
    user = encode(x, segments, positions)[0, -1]
    assert given.shape == (1, L + 1) and not given[0, : L - length].any()
    np.testing.assert_allclose(given.sum(), user @ item[0] / np.linalg.norm(user), rtol=1e-4, atol=1e-5)
