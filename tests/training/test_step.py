from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from rexjax.embedding import order
from rexjax.embedding.rows import gather
from rexjax.evaluation import ranking, requests
from rexjax.models import recommender
from rexjax.runtime.mesh import make_mesh
from rexjax.training import catalogue as catalogues
from rexjax.training import objectives, state, step
from rexjax.training.catalogue import place
from tests.reference.training import share_of_each
from tests.training.walks import CONFIG, LOSSES, MODELS, STEPS, K, L, N, W, catalogue, log, net_of, nothing, stream


@cache
def trained(kind: str, data: int, model: int):
    """Losses of STEPS steps with dropout, the last state, and validation metrics of its parameters."""
    mesh, net = make_mesh(data, model), net_of(kind)
    table = state.item_table(net, N, CONFIG, LOSSES[kind].sparse, LOSSES[kind].features)
    current = state.create(net, CONFIG, table, seed=7, text_width=W, mesh=mesh)
    advance = step.make_step(LOSSES[kind], net, CONFIG, table, seed=7, text_width=W, mesh=mesh)
    items = catalogue()
    prior = np.log1p(items.popularity, dtype=np.float32)[:, None]  # of one kind, as of students that have one
    constants = place(items._replace(prior=prior) if kind == "aligned" else items, table, mesh)
    losses = []
    for batch, lists in stream():
        current, metrics = advance(current, batch, lists if kind in ("student", "aligned") else None, constants)
        losses.append(float(metrics["loss"]))
    return losses, current, validated(net, state.whole(current, table, mesh))


def validated(net: recommender.Recommender, params) -> dict[str, float]:
    served = recommender.serve(net, jax.tree.map(np.asarray, params), catalogue().text, N)
    asked, _ = requests.build(log(), "valid", items=N, length=L)

    return ranking.evaluate(recommender.scorer_of(net, served, N), asked, ks=(10,)).means


@pytest.mark.parametrize("data, model", [(8, 1), (4, 2)])
@pytest.mark.parametrize("kind", LOSSES)
def test_eight_devices_learn_what_one_learns(kind, data, model):
    losses, last, metrics = trained(kind, data, model)
    expected, alone, expected_metrics = trained(kind, 1, 1)
    assert len(last.table.packed.sharding.device_set) == 8 and len(alone.table.packed.sharding.device_set) == 1
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-5)
    assert metrics.keys() == expected_metrics.keys() and "ndcg@10" in metrics
    np.testing.assert_allclose(list(metrics.values()), list(expected_metrics.values()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_it_learns(kind):
    losses = trained(kind, 1, 1)[0]
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.05


def _specs(params, slots):
    """The sharding of parameters, and of the two Adam moments, which lie where their parameters lie."""
    block = "Block_0"
    for tree in (params, slots[0].mu, slots[0].nu):
        history = tree["history"]
        attention = history[block]["Attention_0"]
        yield attention["q"]["kernel"], P(None, "model", None), 1
        yield attention["out"]["kernel"], P("model", None, None), 0
        yield history[block]["up"]["kernel"], P(None, "model"), 1
        yield history[block]["down"]["kernel"], P("model", None), 0


def test_the_state_is_sharded_after_the_steps():
    last = trained("teacher", 4, 2)[1]
    tabled = jax.tree.leaves(last.table)
    assert len(tabled) == 3  # rows and Adam's two moments, for a full softmax apart
    for array, spec, axis in [*_specs(last.params, last.slots), *((x, P(("data", "model")), 0) for x in tabled)]:
        assert array.sharding.spec == spec
        parts = 8 if spec[axis] == ("data", "model") else 2
        assert array.sharding.shard_shape(array.shape)[axis] == array.shape[axis] // parts
    assert last.step.sharding.is_fully_replicated and int(last.step) == STEPS


def test_the_students_rows_are_sharded():
    rows = trained("student", 8, 1)[1].table.packed
    assert rows.sharding.shard_shape(rows.shape) == (7, 8)  # 50 rows over 8 devices


def test_dropout_differs_between_steps_and_follows_the_seed():
    mesh, net = make_mesh(1, 1), MODELS["student"]
    batch, lists = next(stream())
    table = state.item_table(net, N, CONFIG, sparse=False)
    current = state.create(net, CONFIG, table, seed=7, text_width=W, mesh=mesh)
    constants = place(catalogue(), table, mesh)

    def make(seed):
        return step.make_step(LOSSES["student"], net, CONFIG, table, seed=seed, text_width=W, mesh=mesh)

    advance = {seed: make(seed) for seed in (7, 8)}
    found = []
    for seed, at in ((7, 0), (7, 0), (8, 0), (7, 1)):
        copy = jax.tree.map(jnp.copy, current)._replace(step=jnp.int32(at))  # the state is donated
        found.append(float(advance[seed](copy, batch, lists, constants)[1]["loss"]))
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize("devices", [1, 8])
def test_items_that_are_not_scored_begin_and_stay_at_zero_and_cost_nothing(devices):
    net, mesh, objective = MODELS["teacher"], make_mesh(devices, 1), LOSSES["teacher"]
    full = next(iter(stream()))[0]
    batch = jax.tree.map(lambda a, b: np.concatenate([a[:2], b[2:]]), full, nothing(8))
    unmet = np.setdiff1d(np.arange(N), [batch.items, batch.labels])[:3]
    assert len(unmet) == 3
    scored = ~np.isin(np.arange(N), unmet)
    table = state.item_table(net, N, CONFIG, sparse=False)
    constants = place(catalogue()._replace(scored=scored), table, mesh)
    start = state.create(net, CONFIG, table, seed=7, text_width=W, mesh=mesh)
    before = np.asarray(order.to_logical(start.table.packed, mesh))[:N]
    start = state.with_rows_where(start, constants.real)._replace(step=jnp.int32(3))
    cleared = np.asarray(order.to_logical(start.table.packed, mesh))[:N]
    np.testing.assert_array_equal(cleared, np.where(scored[:, None], before, 0))
    params = jax.tree.map(np.asarray, state.whole(start, table, mesh))
    advance = step.make_step(objective, net, CONFIG, table, seed=7, text_width=W, mesh=mesh)
    last, metrics = advance(start, batch, None, constants)
    after = np.asarray(order.to_logical(last.table.packed, mesh))[:N]
    assert not after[unmet].any() and (after[scored] != cleared[scored]).any(1).all()
    # the same as if they were not in the catalogue
    key = jax.random.fold_in(jax.random.key(7), 3)
    items = np.asarray(net.item_vectors(params | {"rows": params["rows"][:N]}, catalogue().text))
    users = net.user_vectors(params["history"], gather(items, batch.items)[0], batch, key)
    scores = np.where(scored, np.asarray(users) @ items.T, -np.inf).astype(np.float64)
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    real = batch.labels >= 0
    expected = -np.take_along_axis(logs, batch.labels[..., None], -1)[..., 0][real].mean()
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)


def test_a_catalogue_of_scored_items_that_fills_its_rows_has_no_mask():
    table = state.item_table(MODELS["teacher"], N, CONFIG, sparse=False)
    assert place(catalogue(), table, make_mesh(1, 1)).real is None
    assert place(catalogue(), table, make_mesh(8, 1)).real.sum() == N
    scored = np.arange(N) != 4
    assert place(catalogue()._replace(scored=scored), table, make_mesh(1, 1)).real.sum() == N - 1


@pytest.mark.parametrize("blocks", [1 << 20, 7])
def test_negatives_are_drawn_as_often_as_their_share_says(monkeypatch, blocks):
    monkeypatch.setattr(catalogues, "BLOCKS", blocks)
    table, mesh = state.item_table(MODELS["student"], N, CONFIG, sparse=True), make_mesh(1, 1)
    constants = place(catalogue(), table, mesh)
    drawn, log_share = catalogues.draw_popular(constants, jax.random.key(0), 200_000, table)
    found, shares = np.bincount(drawn, minlength=N) / 200_000, np.zeros(N)
    shares[drawn] = np.exp(log_share)
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(found, shares, atol=5 * np.sqrt(shares.max() / 200_000))
    np.testing.assert_allclose(shares, share_of_each(catalogue().popularity, catalogues.block_size(N)), rtol=1e-5)


def test_more_interactions_than_an_int32_counts_keep_their_shares():
    table, mesh = state.item_table(MODELS["student"], N, CONFIG, sparse=True), make_mesh(1, 1)
    many = catalogue()._replace(popularity=np.arange(1, N + 1) * 10**9)
    cumulative = np.asarray(place(many, table, mesh).cumulative, np.int64)
    assert (np.diff(cumulative) > 0).all() and 0 < cumulative[-1] < 2**31
    shares = np.diff(cumulative, prepend=0) / cumulative[-1]
    np.testing.assert_allclose(shares, many.popularity / many.popularity.sum(), rtol=1e-5)


def test_named_rows_move_and_no_other():
    net, mesh = MODELS["teacher"], make_mesh(8, 1)
    table = state.item_table(net, N, CONFIG, True, LOSSES["sampled"].features)
    advance = step.make_step(LOSSES["sampled"], net, CONFIG, table, seed=7, text_width=W, mesh=mesh)
    start = state.create(net, CONFIG, table, seed=7, text_width=W, mesh=mesh)._replace(step=jnp.int32(1))
    before = np.asarray(order.to_logical(start.table.packed, mesh))
    batch = nothing(8)
    batch.items[0, :2], batch.labels[0, :2] = [3, 4], [4, 9]
    batch.segments[0, :2], batch.positions[0, :2] = 1, [L - 2, L - 1]
    constants = place(catalogue(), table, mesh)
    key = jax.random.fold_in(jax.random.key(7), 1)
    sampled = np.asarray(LOSSES["sampled"].draw(batch, constants, key, table)[0]["sampled"])
    last, metrics = advance(start, batch, None, constants)
    moved = np.flatnonzero((np.asarray(order.to_logical(last.table.packed, mesh)) != before).any(1))
    assert set(moved) == {3, 4, 9} | set(sampled.tolist()) and len(moved) < N and metrics["exchange_rounds"] >= 1


@pytest.mark.parametrize("kind", LOSSES)
def test_an_empty_batch_costs_nothing(kind):
    net = net_of(kind)
    table, mesh = state.item_table(net, N, CONFIG, LOSSES[kind].sparse, LOSSES[kind].features), make_mesh(1, 1)
    start = state.create(net, CONFIG, table, seed=1, text_width=W, mesh=mesh)
    before = jax.tree.map(np.asarray, (start.params, start.table.packed))
    empty = nothing(2)
    lists = objectives.Lists(np.zeros((2, L, K), np.int32), np.zeros((2, L, K), np.float32))
    free = replace(CONFIG, weight_decay=0.0, warmup=0)
    advance = step.make_step(LOSSES[kind], net, free, table, seed=1, text_width=W, mesh=mesh)
    last, metrics = advance(start, empty, lists, place(catalogue(), table, mesh))
    assert metrics["loss"] == 0
    if kind != "sampled":  # whose table decays the rows that it draws
        jax.tree.map(np.testing.assert_array_equal, (last.params, last.table.packed), before)
