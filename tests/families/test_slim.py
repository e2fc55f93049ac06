from dataclasses import replace

import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.families import coordinates
from rexjax.families.base import Unsuitable
from rexjax.families.slim import Slim
from tests.families.small_log import ITEMS, make_run
from tests.families.test_linear import as_matrix, matrix_of

EXACT = {"neighbours": ITEMS, "tolerance": 1e-7, "sweeps": 2000}


def elastic_net(matrix: np.ndarray, column: int, l1: float, l2: float) -> np.ndarray:
    """float64, by coordinate descent on the residual: min ½ |x_j - X w|² + l1 |w|₁ + ½ l2 |w|², w ≥ 0, w_j = 0."""
    weights = np.zeros(matrix.shape[1])
    for _ in range(2000):
        before = weights.copy()
        for i in range(len(weights)):
            if i != column:
                weights[i] = 0
                gap = matrix[:, i] @ (matrix[:, column] - matrix @ weights) - l1
                weights[i] = max(gap, 0) / (matrix[:, i] @ matrix[:, i] + l2)
        if np.abs(weights - before).max() < 1e-12:
            break
    return weights


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("l1, l2", [(0.0, 0.5), (0.5, 0.1), (1.0, 10.0)])
def test_each_column_is_an_elastic_net(data, tmp_path, l1, l2, devices):
    state = Slim(l1=l1, l2=l2, **EXACT).fit(data, make_run(tmp_path, devices))
    matrix = matrix_of(data)
    expected = np.stack([elastic_net(matrix, column, l1, l2) for column in range(ITEMS)], 1)
    np.testing.assert_allclose(as_matrix(state, ITEMS), expected, atol=1e-5)


@pytest.mark.parametrize("l1, l2", [(0.0, 0.5), (0.5, 0.1), (1.0, 10.0)])
def test_the_conditions_of_a_minimum_hold(data, run, l1, l2):
    """Karush-Kuhn-Tucker: the gradient is 0 where a weight is above 0, and not below 0 elsewhere."""
    weights = as_matrix(Slim(l1=l1, l2=l2, **EXACT).fit(data, run), ITEMS)
    gram = matrix_of(data).T @ matrix_of(data)
    gradient = gram @ weights - gram + l1 + l2 * weights
    assert (weights >= 0).all() and not np.diag(weights).any() and (weights > 0).any()
    free = ~np.eye(ITEMS, dtype=bool)
    assert np.abs(gradient[(weights > 0) & free]).max() < 1e-4
    assert gradient[(weights == 0) & free].min() > -1e-4


@pytest.mark.parametrize(("columns", "sweeps"), [((1,), 8), ((3, 7), 8), ((64,), 1)])
def test_columns_do_not_depend_on_those_beside_them(data, run, monkeypatch, columns, sweeps):
    """Nor on when those that are solved were put aside."""
    model = Slim(l1=0.1, l2=0.5, neighbours=ITEMS)
    whole = model.fit(data, run)
    monkeypatch.setattr("rexjax.families.slim.COLUMNS", columns)
    monkeypatch.setattr("rexjax.families.slim.SWEEPS", sweeps)
    np.testing.assert_allclose(as_matrix(model.fit(data, run), ITEMS), as_matrix(whole, ITEMS), atol=1e-6)


def test_the_block_of_coordinates_changes_nothing(data, run, monkeypatch):
    whole = Slim(l1=0.1, l2=0.5, neighbours=ITEMS).fit(data, run)
    monkeypatch.setattr("rexjax.families.coordinates.BLOCK", 8)
    coordinates.descender.cache_clear()
    parts = Slim(l1=0.1, l2=0.5, neighbours=ITEMS).fit(data, run)
    coordinates.descender.cache_clear()
    np.testing.assert_allclose(as_matrix(parts, ITEMS), as_matrix(whole, ITEMS), atol=1e-6)


def test_the_largest_weights_of_each_item_are_kept(data, run):
    whole = as_matrix(Slim(l1=0.1, l2=0.5, neighbours=ITEMS).fit(data, run), ITEMS)
    few = Slim(l1=0.1, l2=0.5, neighbours=3).fit(data, run)
    np.testing.assert_array_equal(few["weights"], -np.sort(-whole, 1)[:, :3].astype(np.float32))


def test_a_matrix_beyond_memory_is_refused_before_any_work(data, run):
    huge = replace(data, items=10_000_000, log=None)  # work would fail on the missing log
    with pytest.raises(Unsuitable, match=r"10,000,0\d\d .* needs 1,6\d\d,\d{3}\.\d GB .*RP3beta or ItemKNN"):
        Slim().fit(huge, run)


@pytest.mark.parametrize(
    "settings",
    [{"l1": -1.0}, {"l2": 0.0}, {"neighbours": 0}, {"sweeps": 0}, {"tolerance": -1.0}, {"training_decay": 0.0}],
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(UserError, match="set "):
        Slim(**settings)
