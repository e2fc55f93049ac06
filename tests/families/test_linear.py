from dataclasses import replace

import jax
import numpy as np
import pytest
import scipy.linalg

from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.families import inverse
from rexjax.families.base import Unsuitable
from rexjax.families.linear import Ease, ItemKNN
from rexjax.models.scorer import Query
from rexjax.runtime import memory
from rexjax.runtime.mesh import make_mesh, place, sharding
from tests.families.small_log import ITEMS, make_data, make_log, make_run, training_histories


def matrix_of(data) -> np.ndarray:
    """The binary user-item matrix, by a loop."""
    matrix = np.zeros((data.log.users, data.items))
    for user, (items, _) in enumerate(training_histories(data)):
        for item in items:
            matrix[user, item] = 1
    return matrix


def ease_weights(matrix: np.ndarray, l2: float) -> np.ndarray:
    """float64: column j of B minimises |x_j - X b|² + l2 |b|² over b with b_j = 0."""
    size = matrix.shape[1]
    weights = np.zeros((size, size))
    for column in range(size):
        others = np.delete(np.arange(size), column)
        part = matrix[:, others]
        normal = part.T @ part + l2 * np.eye(size - 1)
        weights[others, column] = scipy.linalg.solve(normal, part.T @ matrix[:, column], assume_a="pos")
    return weights


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("l2", [0.5, 500.0])
def test_ease_solves_a_ridge_regression_of_each_item_on_the_others(data, tmp_path, l2, devices):
    weights = np.asarray(Ease(l2=l2).fit(data, make_run(tmp_path, devices))["weights"])
    np.testing.assert_allclose(weights[:ITEMS], ease_weights(matrix_of(data), l2), atol=2e-6)
    assert not weights[ITEMS:].any()


@pytest.mark.parametrize("recency", ["events", "times"])
def test_training_events_count_by_their_age(data, tmp_path, recency):
    matrix = np.zeros((data.log.users, data.items))
    for user, (items, times) in enumerate(training_histories(data)):
        steps = times if recency == "times" else range(len(items))
        later = [len({step for step in steps[place:]} - {steps[place]}) for place in range(len(items))]
        for item, age in zip(items, later, strict=True):
            matrix[user, item] = 0.8**age  # the latest event overwrites those before it
    weights = np.asarray(Ease(l2=5.0, training_decay=0.8, recency=recency).fit(data, make_run(tmp_path))["weights"])
    np.testing.assert_allclose(weights, ease_weights(matrix, 5.0), atol=2e-6)


def test_ease_of_three_items_by_hand(tmp_path):
    """Two users with items 0 and 1, one with 1 and 2."""
    items = np.array([0, 1, 0, 1, 1, 2, 2], np.int32)
    ends = np.array([2, 4, 7])
    log = Histories(items, np.arange(7.0), np.array([0, 2, 4, 7]), ends, ends)
    gram = np.array([[2, 2, 0], [2, 3, 1], [0, 1, 1]]) + np.eye(3)
    precision = np.linalg.inv(gram)
    expected = -precision / np.diag(precision)
    np.fill_diagonal(expected, 0)
    weights = Ease(l2=1.0).fit(make_data(log, 3), make_run(tmp_path))["weights"]
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_the_weights_of_eight_devices_lie_on_all_of_them(data, tmp_path):
    weights = Ease().fit(make_data(make_log(items=41), 41), make_run(tmp_path, 8))["weights"]
    assert weights.shape == (48, 41)
    assert {shard.data.shape for shard in weights.addressable_shards} == {(6, 41)}


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("items", [1, 5, 300])
def test_a_matrix_over_a_mesh_is_inverted(items, devices):
    mesh = make_mesh(devices)
    size = inverse.padded(items, mesh)
    half = np.random.default_rng(0).normal(size=(size, size))
    matrix = half @ half.T / size + np.eye(size)
    placed = place(matrix.astype(np.float32), sharding(mesh, "rows"))
    found = inverse.inverter(mesh, inverse.block_of(items, mesh))(placed)
    np.testing.assert_allclose(found, np.linalg.inv(matrix), atol=2e-5)
    assert found.sharding.is_equivalent_to(sharding(mesh, "rows"), 2)


def test_a_matrix_beyond_memory_is_refused_before_any_work(data, run):
    huge = replace(data, items=10_000_000, log=None)  # work would fail on the missing log
    with pytest.raises(Unsuitable, match=r"10,000,000.* needs 1,200,000\.\d GB .*ItemKNN"):
        Ease().fit(huge, run)


def test_memory_is_the_hosts_where_devices_do_not_say(monkeypatch):
    monkeypatch.setattr(memory, "host_bytes", lambda: 8_000_000)
    assert memory.device_bytes(make_mesh(1)) == 8_000_000
    assert memory.device_bytes(make_mesh(8)) == 1_000_000


def similarities(matrix: np.ndarray, shrinkage: float) -> np.ndarray:
    size = matrix.shape[1]
    found = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            both = sum(a * b for a, b in zip(matrix[:, i], matrix[:, j], strict=True))
            norms = np.sqrt(matrix[:, i].sum()) * np.sqrt(matrix[:, j].sum())
            found[i, j] = 0 if i == j or not both else both / (norms + shrinkage)
    return found


def as_matrix(state, size: int) -> np.ndarray:
    found = np.zeros((size, size + 1))  # padding has id -1
    np.put_along_axis(found, np.asarray(state["ids"]), np.asarray(state["weights"]), 1)
    return found[:, :size]


@pytest.mark.parametrize("shrinkage", [0.0, 10.0])
def test_all_neighbours_are_shrunk_cosines(data, run, shrinkage):
    state = ItemKNN(neighbours=ITEMS, shrinkage=shrinkage).fit(data, run)
    np.testing.assert_allclose(as_matrix(state, ITEMS), similarities(matrix_of(data), shrinkage), atol=1e-6)


def test_the_most_similar_neighbours_are_kept_largest_first(data, run):
    state = ItemKNN(neighbours=5).fit(data, run)
    expected = -np.sort(-similarities(matrix_of(data), 10.0), 1)[:, :5]
    np.testing.assert_allclose(state["weights"], expected, atol=1e-6)
    assert ((state["ids"] == -1) == (state["weights"] == 0)).all()


def test_counting_block_by_block_changes_nothing(data, run, monkeypatch):
    whole = ItemKNN(neighbours=5).fit(data, run)
    monkeypatch.setattr("rexjax.families.counting.PAIRS", 50)
    parts = ItemKNN(neighbours=5).fit(data, run)
    np.testing.assert_array_equal(parts["weights"], whole["weights"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ease(l2=0.0),
        lambda: Ease(decay=1.5),
        lambda: ItemKNN(neighbours=0),
        lambda: ItemKNN(shrinkage=-1.0),
        lambda: ItemKNN(decay=-0.1),
    ],
)
def test_settings_that_mean_nothing_are_refused(make):
    with pytest.raises(UserError, match="set "):
        make()


def test_a_history_is_weighted_by_the_power_of_its_age(data, run):
    """Score of j = sum over distinct items i of decay^age(i) B_ij."""
    model = Ease(l2=5.0, decay=0.5, recency="times")
    state = model.fit(data, run)
    scorer, weights = model.scorer(state), np.asarray(state["weights"])
    query = Query(np.array([[-1, 7, 3, 7, 4]], np.int32), np.array([[0, 0, 10, 10, 25, 90]], np.int32))
    expected = 0.5 * weights[3] + 0.5 * weights[7] + weights[4]  # 7 counts once, by its latest time
    scores = scorer.score(state, scorer.encode(state, query), np.arange(ITEMS))
    np.testing.assert_allclose(scores[0], expected, atol=1e-6)
    with pytest.raises(UserError, match="needs the time"):
        jax.eval_shape(scorer.encode, state, Query(query.histories))
