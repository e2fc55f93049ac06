import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.families.walks import RP3beta
from tests.families.small_log import ITEMS
from tests.families.test_linear import as_matrix, matrix_of


def walks(matrix: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """w_ij over common users, by loops."""
    of_users, of_items, size = matrix.sum(1), matrix.sum(0), matrix.shape[1]
    found = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            for user in np.flatnonzero(matrix[:, i] * matrix[:, j]):
                if i != j:
                    found[i, j] += (1 / of_items[i] / of_users[user]) ** alpha / of_items[j] ** beta
    return found


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.6])
def test_walks_of_length_three_are_weighed(data, run, alpha, beta):
    state = RP3beta(neighbours=ITEMS, alpha=alpha, beta=beta).fit(data, run)
    np.testing.assert_allclose(as_matrix(state, ITEMS), walks(matrix_of(data), alpha, beta), rtol=1e-5)


def test_plain_walks_are_the_cube_of_the_transition_matrix(data, run):
    """With alpha 1 and beta 0: P_ui P_iu P_ui, but for the item's way back to itself."""
    matrix = matrix_of(data)
    to_items = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    to_users = (matrix / np.maximum(matrix.sum(0), 1)).T
    expected = to_users @ to_items
    np.fill_diagonal(expected, 0)
    state = RP3beta(neighbours=ITEMS, beta=0.0).fit(data, run)
    np.testing.assert_allclose(as_matrix(state, ITEMS), expected, atol=1e-6)


def test_the_largest_weights_are_kept(data, run):
    state = RP3beta(neighbours=4).fit(data, run)
    np.testing.assert_allclose(state["weights"], -np.sort(-walks(matrix_of(data), 1.0, 0.5), 1)[:, :4], rtol=1e-5)


def test_walks_are_counted_block_by_block(data, run, monkeypatch):
    whole = RP3beta(neighbours=5).fit(data, run)
    monkeypatch.setattr("rexjax.families.counting.PAIRS", 50)
    np.testing.assert_array_equal(RP3beta(neighbours=5).fit(data, run)["weights"], whole["weights"])


@pytest.mark.parametrize("settings", [{"alpha": -0.1}, {"beta": -1.0}, {"neighbours": 0}, {"decay": 2.0}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(UserError, match="set "):
        RP3beta(**settings)
