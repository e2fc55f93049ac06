"""Losses with one signature: ``(scores, labels, *, where=None)`` → the mean over positions where ``where``.

Scores are logits of all V rows or of candidates; labels are ids or a distribution over them.
"""

from functools import partial

import jax
import jax.numpy as jnp

from rexjax.runtime.arguments import check_id_range, check_integers, check_shape


def softmax_cross_entropy(scores: jax.Array, labels: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Full cross-entropy: scores float32 [..., V], labels int32 [...] → float32 scalar.

    Labels are from 0 to V - 1; -1 is padding, and ``where`` must leave it out. Concrete labels are checked; traced ones
    cannot be, and one beyond V would count as if its score were 0.

    Raises:
        TypeError: labels that are no integers.
        ValueError: shapes that do not fit, or a concrete label beyond the scores.

    >>> import jax.numpy as jnp
    >>> scores = jnp.log(jnp.asarray([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    >>> labels = jnp.asarray([0, 2])
    >>> round(float(softmax_cross_entropy(scores, labels)), 4)  # (-log 0.5 - log 0.8) / 2
    0.4581
    >>> round(float(softmax_cross_entropy(scores, labels, where=jnp.asarray([True, False]))), 4)
    0.6931
    """
    check_integers("labels", labels)
    check_shape("labels", labels, scores.shape[:-1], "scores")
    check_id_range("labels", labels, scores.shape[-1])
    _check_where(where, labels)
    target = jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)  # fused by XLA, never whole in memory
    losses = jax.nn.logsumexp(scores, -1) - jnp.sum(scores * target, -1)
    return mean(losses, where)


def soft_cross_entropy(scores: jax.Array, labels: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Cross-entropy to a distribution: scores float32 [..., V], labels float32 [..., V] that sum to 1.

    Its gradient is that of the KL divergence from ``labels`` (Hinton et al. 2015).

    Raises:
        ValueError: shapes that do not fit.

    >>> import jax.numpy as jnp
    >>> scores = jnp.log(jnp.asarray([[0.5, 0.25, 0.25]]))
    >>> round(float(soft_cross_entropy(scores, jnp.asarray([[0.5, 0.5, 0.0]]))), 4)  # (log 2 + log 4) / 2
    1.0397
    """
    check_shape("labels", labels, scores.shape, "scores")
    _check_where(where, scores[..., 0])
    losses = jax.nn.logsumexp(scores, -1) - jnp.sum(scores * labels, -1)
    return mean(losses, where)


def sampled_softmax(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
) -> jax.Array:
    """Cross-entropy over the label and M shared samples, with the logQ correction (Bengio & Senécal 2008).

    The expected count of a sample is *subtracted* from its score in logs; adding it is a known bug (TFRS#257).

    Args:
        scores: float32 [..., M], of the samples.
        labels: int32 [...].
        where: bool [...].
        positive: float32 [...], the label's own score.
        sampled: int32 [M], the samples' ids; a sample equal to the label does not count as a negative.
        log_expected: float32 [M], log of each sample's expected count.

    Raises:
        TypeError: labels or samples that are no integers.
        ValueError: shapes that do not fit.

    >>> import jax.numpy as jnp
    >>> scores, labels, sampled = jnp.zeros((1, 2)), jnp.asarray([7]), jnp.asarray([7, 3])
    >>> about = {"positive": jnp.zeros(1), "sampled": sampled, "log_expected": jnp.zeros(2)}
    >>> round(float(sampled_softmax(scores, labels, **about)), 4)  # log 2: the sample 7 is the label
    0.6931
    """
    check_sampled(scores, labels, where, positive, sampled, log_expected)
    corrected = jnp.where(sampled == labels[..., None], -jnp.inf, scores - log_expected)
    everything = jnp.concatenate([positive[..., None], corrected], -1)
    return mean(jax.nn.logsumexp(everything, -1) - positive, where)


def gbce(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
    calibration: float = 0.75,
) -> jax.Array:
    """Generalised binary cross-entropy over the label and M samples (gSASRec: Petrov & Macdonald 2023).

    Arguments as above. The label's probability is raised to β = α (t (1 - 1/α) + 1/α), where α is the share of all
    items that is drawn and t the ``calibration``; t = 0 is binary cross-entropy (SASRec: Kang & McAuley 2018).

    >>> import jax.numpy as jnp
    >>> about = {"positive": jnp.zeros(1), "sampled": jnp.asarray([3]), "log_expected": jnp.log(jnp.asarray([0.5]))}
    >>> round(float(gbce(jnp.zeros((1, 1)), jnp.asarray([7]), calibration=0.0, **about)), 4)  # (log 2 + log 2) / 2
    0.6931
    >>> round(float(gbce(jnp.zeros((1, 1)), jnp.asarray([7]), calibration=1.0, **about)), 4)  # (log 2 / 2 + log 2) / 2
    0.5199
    """
    check_sampled(scores, labels, where, positive, sampled, log_expected)
    share = jnp.minimum(jnp.exp(log_expected[0]), 1.0)
    power = share * (calibration * (1 - 1 / share) + 1 / share)
    negative = jnp.where(sampled == labels[..., None], 0, jax.nn.softplus(scores)).sum(-1)
    return mean((power * jax.nn.softplus(-positive) + negative) / (len(sampled) + 1), where)


def bpr(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
) -> jax.Array:
    """Bayesian personalised ranking: the label above each of M samples (Rendle et al. 2009); arguments as above.

    >>> import jax.numpy as jnp
    >>> about = {"positive": jnp.ones(1), "sampled": jnp.asarray([3]), "log_expected": jnp.zeros(1)}
    >>> round(float(bpr(jnp.zeros((1, 1)), jnp.asarray([7]), **about)), 4)  # log(1 + exp(0 - 1))
    0.3133
    """
    check_sampled(scores, labels, where, positive, sampled, log_expected)
    losses = jnp.where(sampled == labels[..., None], 0, jax.nn.softplus(scores - positive[..., None]))
    return mean(losses.mean(-1), where)


SAMPLED = {"sampled_softmax": sampled_softmax, "gbce": gbce, "bce": partial(gbce, calibration=0.0), "bpr": bpr}
"""Losses over the label and samples, by their names in a config."""


def mean(losses: jax.Array, where: jax.Array | None) -> jax.Array:
    """The mean of ``losses`` over positions where ``where``; 0 if there is none."""
    if where is None:
        return losses.mean()
    return jnp.sum(jnp.where(where, losses, 0)) / jnp.maximum(where.sum(), 1)


def _check_where(where: jax.Array | None, losses: jax.Array) -> None:
    if where is not None:  # one that is broadcast would be counted wrong in the mean
        check_shape("where", where, losses.shape, "scores")


def check_sampled(
    scores: jax.Array,
    labels: jax.Array,
    where: jax.Array | None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
) -> None:
    """Refuses shapes and types that do not fit, of any loss over samples."""
    check_integers("labels", labels)
    check_integers("sampled", sampled)
    check_shape("labels", labels, scores.shape[:-1], "scores")
    check_shape("positive", positive, scores.shape[:-1], "scores")
    check_shape("sampled", sampled, scores.shape[-1:], "scores")
    check_shape("log_expected", log_expected, sampled.shape, "sampled")
    _check_where(where, labels)
