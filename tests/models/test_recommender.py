from dataclasses import replace
from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from rexjax.config import Pooled, Rows, Training, Transformer
from rexjax.embedding.optimizers import RowWiseAdagrad
from rexjax.embedding.rows import gather
from rexjax.models import layers, recommender
from rexjax.models.layers import Row
from rexjax.training import state

N, W, L, D = 20, 5, 10, 8
MODELS = {
    "teacher": Transformer(width=D, layers=1, heads=2).recommender(L),
    "student": Pooled(width=D, profiles=3, hidden=12).recommender(L),
    "sequential_student": Transformer(width=D, layers=1, block="hstu", temperature=0.07).recommender(L),
}


@cache
def parameters(name: str):
    return nn.unbox(MODELS[name].init(jax.random.key(0), W)) | {
        "rows": 0.02 * jax.random.normal(jax.random.key(1), (N, D))
    }


@cache
def text(rows: int = N) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, W)).astype(np.float32)


def histories(*lengths: int, width: int = L) -> np.ndarray:
    rng = np.random.default_rng(1)
    found = np.full((len(lengths), width), -1, np.int32)
    for row, length in zip(found, lengths, strict=True):
        row[width - length :] = rng.integers(0, N, length)
    return found


def test_a_model_made_again_is_not_compiled_again():
    traced = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: traced.append(name) if "trace" in name else None
    )
    try:
        for _ in range(2):
            before = len(traced)
            recommender.serve(Pooled(width=D, profiles=3, hidden=12).recommender(L), parameters("student"), text(), N)
    finally:
        jax.monitoring.clear_event_listeners()
    assert len(traced) == before > 0


@pytest.mark.parametrize("name", MODELS)
def test_dense_parameters_hold_no_item_rows(name):
    boxed = jax.eval_shape(lambda: MODELS[name].init(jax.random.key(0), W))
    assert boxed.keys() == {"items", "history"}
    assert nn.get_partition_spec(boxed)["items"]["text"]["kernel"] == P(None, "embed")
    without_text = jax.eval_shape(lambda: MODELS[name].init(jax.random.key(0), 0))
    assert without_text["items"] == {}


@pytest.mark.parametrize("name", MODELS)
def test_the_table_follows_the_config(name):
    rows = Rows("row_wise_adagrad", learning_rate=0.5, dtype="bfloat16", clip=1.0, capacity=2.0)
    table = state.item_table(MODELS[name], N, Training(warmup=4, weight_decay=0.1, rows=rows), sparse=False)
    assert (table.rows, table.width, table.dtype, table.sparse, table.capacity) == (N, D, "bfloat16", False, 2.0)
    rule = table.optimizer
    assert isinstance(rule, RowWiseAdagrad) and rule.clip == 1.0 and rule.weight_decay == 0.1
    assert rule.rate(jnp.int32(2)) == 0.25 and rule.rate(jnp.int32(9)) == 0.5


@pytest.mark.parametrize("name, unit", [("teacher", False), ("student", True)])
def test_item_vectors(name, unit):
    params = parameters(name)
    raw = np.asarray(params["rows"]) + text() @ np.asarray(params["items"]["text"]["kernel"])
    expected = raw / np.linalg.norm(raw, axis=-1, keepdims=True) if unit else raw
    np.testing.assert_allclose(MODELS[name].item_vectors(params, text()), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shorter", [3, 8])
def test_encode_needs_no_padding(name, shorter):
    model, served = MODELS[name], recommender.serve(MODELS[name], parameters(name), text(), N)
    encode = jax.jit(lambda served, asked: model.encode(served.history, *gather(served.items, asked)))
    asked = histories(shorter, 1, 2)
    whole = encode(served, asked)
    assert whole.shape == (3, D)
    np.testing.assert_allclose(encode(served, asked[:, -shorter:]), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_encode_is_the_last_of_the_user_vectors(name):
    model, served = MODELS[name], recommender.serve(MODELS[name], parameters(name), text(), N)
    vectors, mask = gather(served.items, histories(L, 4, 1))
    row = Row(mask.astype(jnp.int32), jnp.broadcast_to(jnp.arange(L), mask.shape))
    every = model.user_vectors(served.history, vectors, row)
    np.testing.assert_allclose(model.encode(served.history, vectors, mask), every[:, -1], rtol=0, atol=1e-5)


def test_the_students_users_are_unit_vectors_and_its_scores_scaled():
    model, served = MODELS["student"], recommender.serve(MODELS["student"], parameters("student"), text(), N)
    users = model.encode(served.history, *gather(served.items, histories(4, 2)))
    np.testing.assert_allclose(np.linalg.norm(users, axis=-1), 1.0, rtol=1e-5)
    assert model.scale == pytest.approx(1 / 0.07) and model.cosine
    assert MODELS["teacher"].scale == 1.0 and not MODELS["teacher"].cosine


@pytest.mark.parametrize("name", MODELS)
def test_dropout_needs_a_key(name):
    model, params = MODELS[name], parameters(name)
    vectors, mask = gather(model.item_vectors(params, text()), histories(L, L))
    row = Row(mask.astype(jnp.int32), jnp.broadcast_to(jnp.arange(L), mask.shape))
    plain, one, other = (
        model.user_vectors(params["history"], vectors, row, k) for k in (None, *map(jax.random.key, (0, 1)))
    )
    assert np.abs(one - other).max() > 1e-4 and np.abs(plain - one).max() > 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_serve_drops_padding_rows(name):
    params = parameters(name)
    served = recommender.serve(MODELS[name], params, text(), N)
    np.testing.assert_allclose(served.items, MODELS[name].item_vectors(params, text())[:N], rtol=1e-6)
    assert served.history is params["history"]


def test_gather():
    items = np.arange(1.0, 7.0, dtype=np.float32).reshape(3, 2)
    vectors, mask = gather(items, np.asarray([[-1, 0, 2], [1, -1, 3]], np.int32))
    np.testing.assert_array_equal(mask, [[False, True, True], [True, False, True]])
    np.testing.assert_array_equal(vectors, [[[0, 0], [1, 2], [5, 6]], [[3, 4], [0, 0], [0, 0]]])  # 3 is not clamped


def test_normalize_and_its_gradient_at_zero():
    x = jnp.asarray([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(layers.normalize(x), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    gradient = jax.grad(lambda x: layers.normalize(x).sum())(jnp.zeros((1, 2)))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("block", ["sasrec", "gated", "hstu", "gru"])
def test_bfloat16_activations_are_near_and_parameters_stay(block):
    config = Transformer(width=D, layers=2, heads=2, block=block)
    exact, half = (replace(config, activations=kind).recommender(L) for kind in ("float32", "bfloat16"))
    dense = nn.unbox(exact.init(jax.random.key(0), W))
    vectors, mask = gather(np.random.default_rng(0).normal(size=(N, D)).astype(np.float32), histories(L, 4))

    def loss(model, history):
        users = model.encode(history, vectors, mask)
        return jnp.sum(users**2), users

    (_, a), gradient = jax.value_and_grad(partial(loss, exact), has_aux=True)(dense["history"])
    (_, b), halved = jax.value_and_grad(partial(loss, half), has_aux=True)(dense["history"])
    assert b.dtype == np.float32 and {x.dtype for x in jax.tree.leaves(halved)} == {np.dtype("float32")}
    np.testing.assert_allclose(a, b, rtol=0, atol=0.05)
    assert np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-5  # it did compute in bfloat16
    chex.assert_trees_all_equal_shapes(gradient, halved)
