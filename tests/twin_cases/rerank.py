"""Re-ranking."""

import numpy as np

from tests.twin_cases import case, close, normal

B, C, D, G, K = 5, 30, 16, 6, 8


def candidates(rng):
    """Scores from 0 to 1 [B, C], some without candidate, and one list with fewer than K."""
    scores = rng.random((B, C)).astype(np.float32)
    scores[rng.random((B, C)) < 0.1] = -np.inf
    scores[0, K - 2 :] = -np.inf
    return scores


def unit_vectors(rng):
    vectors = normal(rng, B, C, D)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    vectors[rng.random((B, C)) < 0.1] = 0
    return vectors


def category_shares(rng, *shape):
    shares = rng.random((*shape, G)) * (rng.random((*shape, G)) < 0.5)
    return (shares / np.maximum(shares.sum(-1, keepdims=True), 1e-9)).astype(np.float32)


def strengths(rng):
    return 0.0, 0.4, 1.0, rng.random(B).astype(np.float32)


@case("rerank.similar:mmr", "rerank.similar:dpp")
def compare_similar(fast, twin, rng):
    scores, vectors = candidates(rng), unit_vectors(rng)
    for strength in strengths(rng):
        np.testing.assert_array_equal(fast(scores, vectors, K, strength), twin(scores, vectors, K, strength))


@case("rerank.shares:xquad", "rerank.shares:calibrated")
def compare_shares(fast, twin, rng):
    scores, shares, own = candidates(rng), category_shares(rng, B, C), category_shares(rng, B)
    own[1] = 0
    for strength in (0.0, 0.4, 0.9, rng.random(B).astype(np.float32)):  # at 1 whole lists tie but for rounding
        found, expected = fast(scores, shares, own, K, strength), twin(scores, shares, own, K, strength)
        np.testing.assert_array_equal(found, expected)


@case("rerank.shares:divergence")
def compare_divergence(fast, twin, rng):
    own, listed = category_shares(rng, B), category_shares(rng, B)
    close(fast(own, listed), twin(own, listed))


@case("rerank.limits:quota")
def compare_quota(fast, twin, rng):
    scores, categories = candidates(rng), rng.integers(-1, G, (B, C)).astype(np.int32)
    for strength in strengths(rng):
        for least in (None, np.asarray([0, 2, 0, 3, 0, 1], np.int32)):
            found = fast(scores, categories, K, strength, groups=G, least=least)
            np.testing.assert_array_equal(found, twin(scores, categories, K, strength, groups=G, least=least))


@case("rerank.limits:capped")
def compare_capped(fast, twin, rng):
    scores = candidates(rng)
    items = np.stack([rng.permutation(C + 5)[:C] for _ in range(B)]).astype(np.int32)
    for strength in (0.0, 0.5, 1.0):
        found = fast(scores, items, K, strength, total=C + 5)
        np.testing.assert_array_equal(found, twin(scores, items, K, strength, total=C + 5))
