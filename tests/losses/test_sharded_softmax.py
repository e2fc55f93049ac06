"""Vocabulary-parallel cross-entropy against the plain one, whose logits are whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.losses import sharded_softmax
from rexjax.losses.sharded_softmax import Targets, cross_entropy
from rexjax.runtime.mesh import make_mesh
from tests.reference.losses import whole_cross_entropy

T, P, D, K, SCALE = 48, 256, 8, 5, 3.0


def case(labelled: float = 0.8, real: int = 200):
    rng = np.random.default_rng(0)
    users, items = (jnp.asarray(rng.normal(size=(n, D)).astype(np.float32)) for n in (T, P))
    labels = np.where(rng.random(T) < labelled, rng.integers(0, real, T), -1).astype(np.int32)
    lists = Targets(
        np.where(rng.random((T, K)) < 0.9, rng.integers(0, real, (T, K)), -1).astype(np.int32),
        rng.dirichlet(np.ones(K), T).astype(np.float32),
    )
    return users, items, jnp.asarray(labels), lists, jnp.arange(P) < real


def targets_of(kind: str, labels, lists) -> Targets:
    return (
        sharded_softmax.one_label(labels)
        if kind == "labels"
        else sharded_softmax.mixture(labels, lists._replace(weights=0.7 * lists.weights))
    )


@pytest.mark.parametrize("chunk", [1 << 20, 2500, 1])
@pytest.mark.parametrize("kind", ["labels", "mixture"])
@pytest.mark.parametrize("mesh", [(1, 1), (8, 1), (4, 2), (2, 4)], ids=str)
def test_values_and_gradients_are_the_plain_ones(monkeypatch, mesh, kind, chunk):
    monkeypatch.setattr(sharded_softmax, "CHUNK_LOGITS", chunk)
    monkeypatch.setattr(sharded_softmax, "LEAST_TOKENS", 8)
    users, items, labels, lists, real = case()
    targets, mesh = targets_of(kind, labels, lists), make_mesh(*mesh)
    targets = targets._replace(weights=targets.weights * jnp.linspace(0.5, 1.5, T)[:, None])
    fast = jax.jit(lambda u, i: 0.3 * cross_entropy(u, i, targets, real, SCALE, mesh))

    def slow(u, i):
        return 0.3 * whole_cross_entropy(u, i, targets, real, SCALE).sum()

    np.testing.assert_allclose(fast(users, items), slow(users, items), rtol=2e-6)
    for mine, theirs in zip(jax.grad(fast, (0, 1))(users, items), jax.grad(slow, (0, 1))(users, items), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("mesh", [(1, 1), (4, 2)], ids=str)
def test_without_padding_no_mask_is_needed(mesh):
    users, items, labels, _, _ = case(real=P)
    targets, mesh, everything = sharded_softmax.one_label(labels), make_mesh(*mesh), jnp.ones(P, bool)
    both = [jax.grad(cross_entropy, (0, 1))(users, items, targets, real, SCALE, mesh) for real in (None, everything)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *both)


def test_a_shard_of_padding_and_a_batch_without_labels_are_no_nan():
    users, items, _, _, real = case(real=20)  # with eight devices, seven hold nothing but padding
    mesh, labels = make_mesh(8, 1), jnp.full(T, -1)
    labels = labels.at[0].set(3)

    def loss(u, i, t):
        return cross_entropy(u, i, sharded_softmax.one_label(t), real, SCALE, mesh)

    value, gradients = jax.value_and_grad(loss, (0, 1))(users, items, labels)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
    value, gradients = jax.value_and_grad(loss, (0, 1))(users, items, jnp.full(T, -1))
    assert value == 0 and not any(np.asarray(g).any() for g in gradients)


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("mesh", [(1, 1), (8, 1)], ids=str)
def test_logits_and_the_matrix_are_never_whole(mesh):
    mesh, tokens, rows = make_mesh(*mesh), 4096, 16384
    shapes = [jax.ShapeDtypeStruct(s, t) for s, t in (((tokens, D), "float32"), ((rows, D), "float32"))]
    labels, real = jnp.zeros(tokens, jnp.int32), jnp.ones(rows, bool)

    def loss(u, i):
        return cross_entropy(u, i, sharded_softmax.one_label(labels), real, SCALE, mesh)

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < tokens * rows * 4 / 4
    assert f"f32[{tokens},{rows}]" not in compiled.as_text()
    if mesh.size > 1:
        assert f"f32[{rows},{D}]" not in compiled.as_text().split("ENTRY")[1]
