"""Losses over samples, lists and whole tables."""

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.losses import sharded_softmax
from rexjax.runtime.mesh import make_mesh
from tests.twin_cases import case, close, normal


@case("losses.sampled:softmax_cross_entropy", "losses.sampled:soft_cross_entropy")
def compare_cross_entropy(fast, twin, rng):
    scores, where = normal(rng, 2, 3, 7), rng.random((2, 3)) < 0.7
    soft = rng.dirichlet(np.ones(7), (2, 3)).astype(np.float32)
    labels = soft if "soft_" in fast.function.__name__ else rng.integers(0, 7, (2, 3))
    close(fast(scores, labels, where=where), twin(scores, labels, where))


@case("losses.sampled:sampled_softmax", "losses.sampled:gbce", "losses.sampled:bpr")
def compare_sampled(fast, twin, rng):
    scores, labels, ids = normal(rng, 2, 3, 7), rng.integers(0, 7, (2, 3)), rng.integers(0, 7, 4)
    log_expected = np.full(4, np.log(4 / 7), np.float32)
    positive = np.take_along_axis(scores, labels[..., None], -1)[..., 0]
    found = fast(scores[..., ids], labels, positive=positive, sampled=ids, log_expected=log_expected)
    close(found, twin(scores, labels, ids, log_expected if fast.function.__name__ == "sampled_softmax" else 4 / 7))


@case(*(f"losses.listwise:{kind}" for kind in ("warp", "listnet", "listmle", "lambdarank", "ndcg")))
def compare_lists(fast, twin, rng):
    compare_sampled(fast, twin, rng)


@case("losses.sharded_softmax:cross_entropy")
def compare_sharded_softmax(fast, twin, rng):
    users, items, labels = normal(rng, 16, 8), normal(rng, 64, 8), rng.integers(-1, 50, 16).astype(np.int32)
    targets, real, mesh = sharded_softmax.one_label(jnp.asarray(labels)), jnp.arange(64) < 50, make_mesh(4, 2)
    both = lambda u, i: fast(u, i, targets, real, 3.0, mesh), lambda u, i: twin(u, i, targets, real, 3.0).sum()
    found, expected = (jax.jit(jax.value_and_grad(loss, (0, 1)))(users, items) for loss in both)
    close(found, expected, 1e-4)
