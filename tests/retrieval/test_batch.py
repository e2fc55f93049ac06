from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.models.scorer import score_matrix
from rexjax.retrieval import batch
from rexjax.retrieval.index import Index

N, LENGTH = 30, 5
WEIGHTS = np.random.default_rng(0).normal(size=(N, N)).astype(np.float32)


def encode(state, query):
    there = query.histories >= 0
    return jnp.where(there[..., None], state[query.histories], 0).sum(1)


@pytest.fixture(scope="module")
def index():
    """Scores are sums of rows of WEIGHTS, one an item of the history."""
    scorer = replace(
        score_matrix(jnp.asarray(WEIGHTS)), encode=encode, score=lambda state, encoded, ids: encoded[:, ids]
    )
    names = [f"i{n}" for n in range(N)]
    popular = np.random.default_rng(1).permutation(N).astype(np.int32)
    share = np.empty(N)
    share[popular] = np.linspace(1, 0, N)
    return Index(scorer, dict, "tiny", names, {name: n for n, name in enumerate(names)}, names, popular, share, LENGTH)


def slowly(history, exclude, k, index):
    """One user, in NumPy."""
    scores = WEIGHTS[history[-LENGTH:]].sum(0) if len(history) else index.share.astype(np.float32)
    scores[list(exclude)] = -np.inf
    best = np.argsort(-scores, kind="stable")[:k]
    return np.where(np.isneginf(scores[best]), -1, best), scores[best]


def users(count, seed=0):
    rng = np.random.default_rng(seed)
    histories = [rng.integers(0, N, rng.integers(0, 9)).tolist() for _ in range(count)]
    return histories, [sorted(set(history)) for history in histories]


@pytest.mark.parametrize(("count", "k"), [(0, 3), (1, 3), (2, 1), (300, 7), (3, N)])
def test_each_user_gets_what_one_in_numpy_gets(index, count, k):
    histories, exclude = users(count)
    ids, scores = batch.recommend(index, histories, exclude, k)
    assert ids.shape == scores.shape == (count, k)
    for user in range(count):
        wanted = slowly(histories[user], exclude[user], k, index)
        np.testing.assert_array_equal(ids[user], wanted[0])
        np.testing.assert_allclose(scores[user], wanted[1], rtol=1e-5, atol=1e-5)


def test_a_second_call_compiles_nothing(index):
    histories, exclude = users(300)
    several, one = (histories, exclude, 4), (histories[1:2], exclude[1:2], 4)
    for arguments in (several, one):
        batch.recommend(index, *arguments)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compiled.append(name))
    more, left_out = users(520, seed=2)
    batch.recommend(index, more, left_out, 4)
    for user in range(20):
        batch.recommend(index, more[user : user + 1], left_out[user : user + 1], 4)
    assert [name for name in compiled if "compile" in name] == []


def test_long_lists_of_excluded_items_share_a_program_within_a_bound(index):
    ids, _ = batch.recommend(index, [[1], [2]], [list(range(N - 1)), []], 3, excluded=100)
    assert ids[0].tolist() == [N - 1, -1, -1]


@pytest.mark.parametrize("k", [0, N + 1])
def test_k_is_within_the_catalogue(index, k):
    with pytest.raises(UserError, match=f"--k {k}: this catalogue has {N} items"):
        batch.recommend(index, [[1]], [[]], k)


def test_each_history_has_its_list_of_excluded_items(index):
    with pytest.raises(ValueError, match="2 histories and 1 lists"):
        batch.recommend(index, [[1], [2]], [[]], 3)
