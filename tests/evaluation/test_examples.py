import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.evaluation import examples
from rexjax.evaluation.ranking import Requests, ragged
from rexjax.models.scorer import dot_product

TITLES = ["Rug", "Lamp", "Vase", "Mug"]
SCORER = dot_product(lambda histories: jnp.ones((len(histories), 1)), jnp.asarray([[4.0], [3.0], [2.0], [1.0]]))
ASKED = Requests(
    np.asarray([[-1, 0], [1, 2], [-1, -1]], np.int32), *ragged([[0], [1, 2], []]), *ragged([[1], [3], [2, 3]])
)


def test_a_user_is_spelt_as_a_person_reads_it():
    rows = examples.of_users(SCORER, ASKED, np.asarray([0, 1]), TITLES.__getitem__, k=2)
    assert rows[0] == {"history": ["Rug"], "recommended": ["Lamp", "Vase"], "wanted": ["Lamp"], "hits": ["Lamp"]}
    assert rows[1] == {"history": ["Lamp", "Vase"], "recommended": ["Rug", "Mug"], "wanted": ["Mug"], "hits": ["Mug"]}


def test_a_user_without_events_has_an_empty_history():
    (row,) = examples.of_users(SCORER, ASKED, np.asarray([2]), TITLES.__getitem__, k=1)
    assert row == {"history": [], "recommended": ["Rug"], "wanted": ["Vase", "Mug"], "hits": []}


@pytest.mark.parametrize("count, expected", [(2, 2), (3, 3), (10, 3)])
def test_users_are_drawn_once_and_by_the_seed(count, expected):
    users = examples.some(ASKED, seed=1, count=count)
    assert len(set(users.tolist())) == expected and users.tolist() == sorted(users)
    np.testing.assert_array_equal(users, examples.some(ASKED, seed=1, count=count))
