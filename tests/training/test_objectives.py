from functools import cache

import jax
import numpy as np
import pytest

from rexjax.config import Pooled
from rexjax.data.batches import Batch
from rexjax.embedding.rows import gather
from rexjax.runtime.mesh import make_mesh
from rexjax.training import objectives, state
from rexjax.training.catalogue import place
from tests.training.walks import CONFIG, MODELS, A, L, N, W, catalogue, stream

WITHOUT_DROPOUT = Pooled(width=8, profiles=3, hidden=16, dropout=0.0).recommender(L)
"""Computes what the student does, for objectives that need a key."""


@cache
def setting():
    """Parameters of the student, a batch with padding, and its log-probabilities over the N real items (NumPy)."""
    net, mesh = MODELS["student"], make_mesh(1, 1)
    table = state.item_table(net, N, CONFIG, sparse=False)
    params = state.whole(state.create(net, CONFIG, table, seed=1, text_width=W, mesh=mesh), table, mesh)
    *_, (batch, lists) = ((b, x) for b, x in stream() if (b.labels < 0).any())
    items = np.asarray(net.item_vectors(params, catalogue().text))
    vectors = np.where(batch.items[..., None] >= 0, items[batch.items], 0)
    users = np.asarray(net.user_vectors(params["history"], vectors, batch))
    scores = net.scale * users.astype(np.float64) @ items[:N].astype(np.float64).T
    return params, batch, lists, scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def _loss(objective: objectives.Objective, batch, lists=None, key=None, params=None, items=None) -> jax.Array:
    """The objective's value for the student's parameters of ``setting``, without dropout unless there is a key."""
    net, mesh = MODELS["student"], make_mesh(1, 1)
    table, params = state.item_table(net, N, CONFIG, objective.sparse, objective.features), params or setting()[0]
    constants = place(items or catalogue(), table, mesh)
    if isinstance(objective, objectives.WholeTable):
        return objective.loss(params, batch, lists, constants, key, table, mesh)
    drawn = objective.draw(batch, constants, key, table)
    items = net.item_vectors(params, catalogue().text)
    vectors = {name: gather(items, ids)[0] for name, ids in drawn[0].items()}
    return objective.loss(params, vectors, batch, drawn, key)


def test_full_softmax_is_over_the_real_items_only():
    _, batch, _, log_probabilities = setting()
    real = batch.labels >= 0
    expected = -np.take_along_axis(log_probabilities, batch.labels[..., None], -1)[..., 0][real].mean()
    np.testing.assert_allclose(_loss(objectives.full_softmax(MODELS["student"]), batch), expected, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_distilled_is_a_mixture_of_two_cross_entropies(share):
    _, batch, lists, log_probabilities = setting()
    lists = lists._replace(weights=lists.weights / 0.7 * share)
    real = batch.labels >= 0
    to_label = -np.take_along_axis(log_probabilities, batch.labels[..., None], -1)[..., 0]
    to_list = -(np.take_along_axis(log_probabilities, lists.items, -1) * lists.weights).sum(-1)
    expected = (to_list + (1 - share) * to_label)[real].mean()
    found = _loss(objectives.distilled(MODELS["student"]), batch, lists)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_prior_is_added_to_every_logit_of_an_item():
    _, batch, _, log_probabilities = setting()
    prior = np.random.default_rng(5).normal(size=(N, 1)).astype(np.float32)
    logits = log_probabilities + prior[:, 0]
    expected = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, batch.labels[..., None], -1)[..., 0]
    found = _loss(objectives.full_softmax(MODELS["student"]), batch, items=catalogue()._replace(prior=prior))
    np.testing.assert_allclose(found, expected[batch.labels >= 0].mean(), rtol=1e-5)


def test_alignment_is_the_mean_cosine_distance_of_the_histories_items_after_a_projection():
    net, (_, batch, lists, _) = MODELS["aligned"], setting()
    rng = np.random.default_rng(4)
    params = setting()[0] | {"aligned": {"kernel": rng.normal(size=(8, A)).astype(np.float32)}}

    def objective(weight):
        return objectives.distilled(net, alignment=weight)

    more = _loss(objective(0.5), batch, lists, params=params) - _loss(objective(0.0), batch, lists, params=params)
    made = np.asarray(net.item_vectors(params, catalogue().text)) @ params["aligned"]["kernel"]
    cosines = (made * catalogue().aligned).sum(1) / np.linalg.norm(made, axis=1)
    expected = 0.5 * (1 - cosines[batch.items[batch.items >= 0]]).mean()
    np.testing.assert_allclose(more, expected, rtol=1e-4)


def test_sampled_softmax_draws_by_popularity_and_approaches_the_full_one():
    loss = objectives.sampled(WITHOUT_DROPOUT, "sampled_softmax", 20_000)
    _, batch, _, _ = setting()
    small = jax.tree.map(lambda array: array[:1], batch)
    assert (small.labels >= 0).any()
    # the label is among the samples never, in the full softmax once: with many samples both estimate the same sum
    sampled = float(_loss(loss, small, key=jax.random.key(0)))
    np.testing.assert_allclose(sampled, float(_loss(objectives.full_softmax(MODELS["student"]), small)), rtol=0.03)


def _in_batch(batch, scores, popularity, shared):
    """The softmax over the label and those of all other histories in the first ``shared`` rows, position by position:
    item j is expected ``n p_j`` times among n of them."""
    real, shares = np.argwhere(batch.labels >= 0), (popularity + 1) / (popularity + 1).sum()
    losses = []
    for row, column in real:
        own, label = (row, batch.segments[row, column]), batch.labels[row, column]
        others = [batch.labels[r, c] for r, c in real if r < shared and (r, batch.segments[r, c]) != own]
        terms = [np.exp(scores[row, column, j]) / (len(others) * shares[j]) for j in others if j != label]
        losses.append(np.log(np.exp(scores[row, column, label]) + sum(terms)) - scores[row, column, label])
    return np.mean(losses)


@pytest.mark.parametrize("rows, most, shared", [(16, 10_000, 16), (16, 3 * L + 1, 3), (3, 2, 1), (1, 100, 1)])
def test_in_batch_equals_the_formula(rows, most, shared):
    _, whole, _, log_probabilities = setting()
    batch = jax.tree.map(lambda array: array[-rows:], whole)
    found = _loss(objectives.in_batch(WITHOUT_DROPOUT, most), batch, key=jax.random.key(0))
    expected = _in_batch(batch, log_probabilities[-rows:], catalogue().popularity, shared)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("most", [10_000])
def test_in_batch_approaches_the_full_softmax_where_labels_follow_popularity(most):
    """With the sign of the correction turned, or none, it is off by .1 and more."""
    rng, rows = np.random.default_rng(6), 120
    shares = (catalogue().popularity + 1) / (catalogue().popularity + 1).sum()
    items, labels = (rng.choice(N, (rows, L), p=shares).astype(np.int32) for _ in range(2))
    labels[:, -3:] = -1
    places = np.broadcast_to(np.arange(L, dtype=np.int32), (rows, L))
    batch = Batch(items, labels, np.ones_like(items), places, places, np.zeros((rows, L, 2), np.int32))
    found = _loss(objectives.in_batch(WITHOUT_DROPOUT, most), batch, key=jax.random.key(0))
    np.testing.assert_allclose(found, _loss(objectives.full_softmax(WITHOUT_DROPOUT), batch), rtol=0, atol=0.02)
