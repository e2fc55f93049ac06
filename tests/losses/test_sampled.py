import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.losses import sampled as losses

B, L, V, M = 2, 3, 7, 4
RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(B, L, V)).astype(np.float32) * 3
LABELS = RNG.integers(0, V, (B, L)).astype(np.int32)
SOFT = RNG.dirichlet(np.ones(V), (B, L)).astype(np.float32)
WHERES = {
    "all": None,
    "some": np.asarray([[True, False, True], [False, True, True]]),
    "one": np.asarray([[False, False, True], [False, False, False]]),
    "none": np.zeros((B, L), bool),
}


def log_softmax(scores: np.ndarray) -> np.ndarray:
    scores = scores.astype(np.float64)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def averaged(values: np.ndarray, where) -> float:
    chosen = values if where is None else values[where]
    return chosen.mean() if chosen.size else 0.0


def of_labels(log_probabilities: np.ndarray) -> np.ndarray:
    return np.take_along_axis(log_probabilities, LABELS[..., None], -1)[..., 0]


@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES.keys())
def test_softmax_cross_entropy(where):
    expected = averaged(-of_labels(log_softmax(SCORES)), where)
    np.testing.assert_allclose(losses.softmax_cross_entropy(SCORES, LABELS, where=where), expected, rtol=1e-5)


@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES.keys())
def test_soft_cross_entropy(where):
    expected = averaged(-(log_softmax(SCORES) * SOFT).sum(-1), where)
    np.testing.assert_allclose(losses.soft_cross_entropy(SCORES, SOFT, where=where), expected, rtol=1e-5)


def test_soft_labels_that_are_one_hot_are_labels():
    found = losses.soft_cross_entropy(SCORES, np.eye(V, dtype=np.float32)[LABELS])
    np.testing.assert_allclose(found, losses.softmax_cross_entropy(SCORES, LABELS), rtol=1e-6)


@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES.keys())
def test_gradient_of_soft_cross_entropy_is_softmax_minus_labels(where):
    found = jax.grad(lambda scores: losses.soft_cross_entropy(scores, SOFT, where=where))(SCORES)
    chosen = np.ones((B, L), bool) if where is None else where
    expected = (np.exp(log_softmax(SCORES)) - SOFT) * chosen[..., None] / max(chosen.sum(), 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "loss, labels", [(losses.softmax_cross_entropy, LABELS), (losses.soft_cross_entropy, SOFT)], ids=["hard", "soft"]
)
def test_masked_positions_count_for_nothing(loss, labels):
    where = WHERES["some"]
    wild = np.where(where[..., None], SCORES, np.nan).astype(np.float32)
    np.testing.assert_allclose(loss(wild, labels, where=where), loss(SCORES, labels, where=where), rtol=1e-6)


def test_the_label_of_padding_may_be_minus_one():
    where = WHERES["some"]
    labels = np.where(where, LABELS, -1)
    found = losses.softmax_cross_entropy(SCORES, labels, where=where)
    np.testing.assert_allclose(found, losses.softmax_cross_entropy(SCORES, LABELS, where=where), rtol=1e-6)


def test_extreme_and_tied_scores():
    huge = np.where(np.arange(V) == LABELS[..., None], 1e30, 0).astype(np.float32)
    assert losses.softmax_cross_entropy(huge, LABELS) == 0
    tied = np.full((B, L, V), 5.0, np.float32)
    np.testing.assert_allclose(losses.softmax_cross_entropy(tied, LABELS), np.log(V), rtol=1e-6)


def sampled(sampled_ids: np.ndarray, log_expected: np.ndarray, where=None, scores=SCORES, labels=LABELS):
    return losses.sampled_softmax(
        scores[..., sampled_ids],
        labels,
        where=where,
        positive=np.take_along_axis(scores, np.maximum(labels, 0)[..., None], -1)[..., 0],
        sampled=sampled_ids,
        log_expected=log_expected.astype(np.float32),
    )


@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES.keys())
@pytest.mark.parametrize("ids", [[0, 3, 5, 6], [2, 2, 2, 2], list(LABELS[0, :1]) * 4])
def test_sampled_softmax_equals_the_formula(ids, where):
    ids = np.asarray(ids, np.int32)
    log_expected = np.log(np.asarray([0.5, 1.5, 0.1, 3.0]))
    values = np.empty((B, L))
    for at in np.ndindex(B, L):
        label, row = LABELS[at], SCORES[at].astype(np.float64)
        others = [np.exp(row[i]) / np.exp(q) for i, q in zip(ids, log_expected, strict=True) if i != label]
        values[at] = np.log(np.exp(row[label]) + sum(others)) - row[label]
    np.testing.assert_allclose(sampled(ids, log_expected, where), averaged(values, where), rtol=1e-5, atol=1e-7)


def test_all_items_as_samples_and_expected_once_each_is_the_full_softmax():
    everything = np.arange(V, dtype=np.int32)
    full = losses.softmax_cross_entropy(SCORES, LABELS)
    np.testing.assert_allclose(sampled(everything, np.zeros(V)), full, rtol=1e-5)
    # uniform with M = V samples: each expected V times 1/V = once; twice as many samples say the same
    twice = np.tile(everything, 2)
    np.testing.assert_allclose(sampled(twice, np.full(2 * V, np.log(2 * V / V))), full, rtol=1e-5)


def test_log_expected_is_subtracted():
    ids = np.arange(V, dtype=np.int32)
    rare, usual, frequent = (float(sampled(ids, np.full(V, q))) for q in (-1.0, 0.0, 1.0))
    assert rare > usual > frequent  # a sample drawn often stands for less
    p = np.exp(of_labels(log_softmax(SCORES)))
    np.testing.assert_allclose(frequent, np.log(1 + (1 / p - 1) / np.e).mean(), rtol=1e-5)


def test_the_label_among_the_samples_is_no_negative():
    labels = np.full((B, L), 2, np.int32)
    assert sampled(np.full(M, 2, np.int32), np.zeros(M), labels=labels) == 0
    np.testing.assert_array_equal(_gradient_of_samples(labels), np.zeros((B, L, M)))


def _gradient_of_samples(labels):
    def loss(samples):
        return losses.sampled_softmax(
            samples,
            labels,
            positive=SCORES[..., 2],
            sampled=np.full(M, 2, np.int32),
            log_expected=np.zeros(M, np.float32),
        )

    return jax.grad(loss)(SCORES[..., [2] * M])


@pytest.mark.parametrize(
    "values, where, expected",
    [
        ([1.0, 2.0, 6.0], None, 3.0),
        ([1.0, 2.0, 6.0], [True, False, True], 3.5),
        ([1.0, np.nan, 6.0], [True, False, True], 3.5),
        ([1.0, np.inf, 6.0], [False, False, False], 0.0),
    ],
)
def test_mean(values, where, expected):
    assert losses.mean(jnp.asarray(values), None if where is None else jnp.asarray(where)) == expected


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES.keys())
@pytest.mark.parametrize("kind", ["bce", "gbce", "bpr"])
def test_losses_over_samples_equal_their_formulas(kind, where):
    ids = np.asarray([0, 3, 3, 6], np.int32)
    share, values = len(ids) / V, np.empty((B, L))
    power = share * (0.75 * (1 - 1 / share) + 1 / share) if kind == "gbce" else 1.0
    for at in np.ndindex(B, L):
        own = SCORES[at].astype(np.float64)[LABELS[at]]
        others = SCORES[at].astype(np.float64)[ids[ids != LABELS[at]]]
        if kind == "bpr":
            values[at] = softplus(others - own).sum() / len(ids)
        else:
            values[at] = (power * softplus(-own) + softplus(others).sum()) / (len(ids) + 1)
    found = losses.SAMPLED[kind](
        SCORES[..., ids],
        LABELS,
        where=where,
        positive=np.take_along_axis(SCORES, LABELS[..., None], -1)[..., 0],
        sampled=ids,
        log_expected=np.full(len(ids), np.log(share), np.float32),
    )
    np.testing.assert_allclose(found, averaged(values, where), rtol=1e-5, atol=1e-7)
