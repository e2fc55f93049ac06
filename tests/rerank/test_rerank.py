"""Re-ranking: what strength does, padding, devices, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax import rerank
from rexjax.errors import UserError
from rexjax.runtime.mesh import make_mesh

B, C, D, G, K = 16, 24, 8, 4, 6
RNG = np.random.default_rng(0)
SCORES = -np.sort(-RNG.random((B, C)).astype(np.float32), axis=1)
VECTORS = RNG.normal(size=(B, C, D)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=2, keepdims=True)
CATEGORIES = RNG.integers(0, G, (B, C)).astype(np.int32)
SHARES = np.eye(G, dtype=np.float32)[CATEGORIES]
OWN = np.full((B, G), 1 / G, np.float32)
ITEMS = np.stack([RNG.permutation(40)[:C] for _ in range(B)]).astype(np.int32)

RERANKINGS = {
    "mmr": lambda scores, strength: rerank.mmr(scores, VECTORS, K, strength),
    "dpp": lambda scores, strength: rerank.dpp(scores, VECTORS, K, strength),
    "xquad": lambda scores, strength: rerank.xquad(scores, SHARES, OWN, K, strength),
    "calibrated": lambda scores, strength: rerank.calibrated(scores, SHARES, OWN, K, strength),
    "quota": lambda scores, strength: rerank.quota(scores, CATEGORIES, K, strength, groups=G),
    "capped": lambda scores, strength: rerank.capped(scores, ITEMS, K, strength, total=40),
}


@pytest.mark.parametrize("name", RERANKINGS)
def test_without_strength_the_order_of_scores_stays(name):
    np.testing.assert_array_equal(RERANKINGS[name](SCORES, 0.0), np.tile(np.arange(K), (B, 1)))


@pytest.mark.parametrize("name", RERANKINGS)
def test_a_list_holds_an_item_once_and_no_padding(name):
    scores = SCORES.copy()
    scores[:, 4:9] = -np.inf
    scores[3, 2:] = -np.inf
    lists = np.asarray(RERANKINGS[name](scores, 0.3))
    assert lists.dtype == np.int32 and not np.isin(lists, range(4, 9)).any()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in lists)
    assert (lists[3] >= 0).sum() <= 2


@pytest.mark.parametrize("name", sorted({*RERANKINGS} - {"capped"}))
def test_eight_devices_answer_as_one(name):
    mesh = make_mesh(8, 1)
    spread = jax.device_put(SCORES, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    np.testing.assert_array_equal(RERANKINGS[name](spread, 0.5), RERANKINGS[name](SCORES, 0.5))


@pytest.mark.parametrize("name", ["mmr", "dpp"])
def test_diversity_grows_with_strength(name):
    def distance(lists):
        rows = np.take_along_axis(VECTORS, np.asarray(lists)[:, :, None], 1)
        return 1 - (np.einsum("bkd,bjd->b", rows, rows) - K).mean() / (K * (K - 1))

    found = [distance(RERANKINGS[name](SCORES, strength)) for strength in (0.0, 0.2, 0.8)]
    assert found[0] < found[1] < found[2]


def test_duplicates_are_taken_last():
    vectors = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)[None]
    scores = np.linspace(1, 0.9, 8, dtype=np.float32)[None]
    for ranking in (rerank.mmr, rerank.dpp):
        assert sorted(np.asarray(ranking(scores, vectors, 4, 0.5))[0] // 2) == [0, 1, 2, 3]
    assert len(set(np.asarray(rerank.dpp(scores, vectors, 8, 0.5))[0])) == 8  # more places than dimensions


def test_calibration_lowers_the_divergence():
    def divergence(lists):
        return float(
            rerank.divergence(OWN, np.take_along_axis(SHARES, np.asarray(lists)[:, :, None], 1).mean(1)).mean()
        )

    before, after = (divergence(RERANKINGS["calibrated"](SCORES, strength)) for strength in (0.0, 0.5))
    assert after < before / 2


def test_quota_bounds_places():
    lists = np.asarray(rerank.quota(SCORES, CATEGORIES, K, 0.8, groups=G, least=np.asarray([2, 0, 0, 0], np.int32)))
    taken = np.take_along_axis(CATEGORIES, lists, 1)
    assert max(np.bincount(row).max() for row in taken) == 2  # ceil(6 - 0.8 * 5)
    assert ((taken == 0).sum(1) == 2).all()


def test_caps_bound_appearances():
    lists = np.asarray(RERANKINGS["capped"](SCORES, 0.5))
    taken = np.take_along_axis(ITEMS, np.maximum(lists, 0), 1)[lists >= 0]
    assert np.bincount(taken).max() <= np.ceil(B * (K / 40) ** 0.5)


@pytest.mark.parametrize("name", RERANKINGS)
def test_a_ranking_enters_jit(name):
    within = jax.jit(lambda scores: RERANKINGS[name](scores, 0.3))(SCORES)
    np.testing.assert_array_equal(within, RERANKINGS[name](SCORES, 0.3))


ERRORS = [
    (lambda: rerank.mmr(SCORES, VECTORS, C + 1, 0.5), ValueError, "k is 25: with 24 candidates it must lie in 1 … 24"),
    (lambda: rerank.mmr(SCORES, VECTORS, 0, 0.5), ValueError, "k is 0"),
    (lambda: rerank.dpp(SCORES, 2 * VECTORS, K, 0.5), ValueError, "384 vectors that are not unit, .* length 2"),
    (lambda: rerank.dpp(SCORES, VECTORS[:, 1:], K, 0.5), ValueError, "vectors has shape"),
    (lambda: rerank.dpp(SCORES, VECTORS, K, 1.5), ValueError, "strength goes from 1.5 to 1.5: it must lie in 0 … 1"),
    (lambda: rerank.dpp(SCORES, VECTORS, K, np.zeros(3)), ValueError, "strength has shape"),
    (lambda: rerank.dpp(ITEMS, VECTORS, K, 0.5), TypeError, "scores has dtype int32"),
    (lambda: rerank.xquad(SCORES, SHARES, OWN[:, 1:], K, 0.5), ValueError, "own has shape"),
    (lambda: rerank.quota(SCORES, SHARES, K, 0.5, groups=G), TypeError, "categories has dtype"),
    (lambda: rerank.quota(SCORES, CATEGORIES, K, 0.5, groups=2), ValueError, "categories holds"),
    (lambda: rerank.quota(SCORES, CATEGORIES, K, 0.5, groups=G, least=[3, 3, 1, 0]), UserError, "7 places of 6"),
    (
        lambda: rerank.check_quota(np.asarray([0, 5]), np.asarray([9, 3]), ["beds", "lamps"]),
        UserError,
        "asks for 5 items of lamps, and the catalogue has 3: lower the quota",
    ),
    (lambda: rerank.capped(SCORES, ITEMS, K, 0.5, total=10), ValueError, "items holds"),
]


@pytest.mark.parametrize("call, kind, sentence", ERRORS)
def test_errors(call, kind, sentence):
    with pytest.raises(kind, match=sentence):
        call()


def test_strength_is_traced():
    traced = jax.jit(lambda strength: rerank.dpp(SCORES, VECTORS, K, strength))
    np.testing.assert_array_equal(traced(jnp.float32(0.3)), rerank.dpp(SCORES, VECTORS, K, 0.3))
