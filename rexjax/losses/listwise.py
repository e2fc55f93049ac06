"""Learning to rank: a label above M samples, by what the order of the list is worth.

The functions share the arguments of ``rexjax.losses.sampled.sampled_softmax``: scores float32 [..., M] of samples,
labels int32 [...], where bool [...], positive float32 [...] (the label's own score), sampled int32 [M], log_expected
float32 [M]. A sample that is the label does not count. Each costs O(M) for a position, where libraries for general
lists, such as rax, compare all pairs of a list, M² of them; tests compare the two.
"""

import jax
import jax.numpy as jnp

from rexjax.losses.sampled import check_sampled, mean, sampled_softmax

_NEVER = -1e9  # the score of a sample that does not count; sums of -inf have no gradient


def warp(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
) -> jax.Array:
    """Weighted approximate-rank pairwise loss (Weston et al. 2011): a hinge that weighs more for labels at low ranks.

    The v of M samples within a margin of 1 estimate the label's rank among N items, r = v N / M, with N from the
    expected counts. The loss is their mean hinge times 1 + 1/2 + … + 1/r. The paper draws one sample after another
    until one violates the margin; here all M are looked at, as they lie in one product.

    >>> import jax.numpy as jnp
    >>> about = {"positive": jnp.ones(1), "sampled": jnp.asarray([3, 4]), "log_expected": jnp.zeros(2)}
    >>> round(float(warp(jnp.asarray([[0.5, -9.0]]), jnp.asarray([7]), **about)), 4)  # 1 of 2 items violates by 0.5
    0.5
    """
    check_sampled(scores, labels, where, positive, sampled, log_expected)
    hinge = jax.nn.relu(1 - positive[..., None] + _others(scores, labels, sampled))
    violations = (hinge > 0).sum(-1)
    rank = jnp.round(violations * jnp.exp(-log_expected[0]))
    weight = jax.lax.stop_gradient(jnp.euler_gamma + jax.scipy.special.digamma(rank + 1))
    return mean(weight * hinge.sum(-1) / jnp.maximum(violations, 1), where)


def listnet(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
) -> jax.Array:
    """Cross-entropy of who stands first (ListNet: Cao et al. 2007), of one relevant item among evenly drawn ones.

    It is a softmax over the list as it is, without the logQ correction of ``sampled_softmax``.

    >>> import jax.numpy as jnp
    >>> about = {"positive": jnp.zeros(1), "sampled": jnp.asarray([3]), "log_expected": jnp.zeros(1)}
    >>> round(float(listnet(jnp.zeros((1, 1)), jnp.asarray([7]), **about)), 4)  # log 2
    0.6931
    """
    even = jnp.zeros_like(log_expected)
    return sampled_softmax(scores, labels, where=where, positive=positive, sampled=sampled, log_expected=even)


def listmle(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
) -> jax.Array:
    """Likelihood of the whole order (Xia et al. 2008): the label first, then the samples as they were drawn, a mean.

    The sum over places is divided by their number, so that M does not set the step size.

    >>> import jax.numpy as jnp
    >>> about = {"positive": jnp.zeros(1), "sampled": jnp.asarray([3, 4]), "log_expected": jnp.zeros(2)}
    >>> round(float(listmle(jnp.zeros((1, 2)), jnp.asarray([7]), **about)), 4)  # (log 3 + log 2 + log 1) / 3
    0.5973
    """
    check_sampled(scores, labels, where, positive, sampled, log_expected)
    others = _others(scores, labels, sampled)
    everything = jnp.concatenate([positive[..., None], others], -1)
    counts = everything > _NEVER
    rest = jax.lax.cumlogsumexp(everything, axis=everything.ndim - 1, reverse=True)
    losses = jnp.where(counts, rest - everything, 0)
    return mean(losses.sum(-1) / counts.sum(-1), where)


def lambdarank(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
) -> jax.Array:
    """A logistic loss for each pair of label and sample, times what swapping them would change in NDCG (LambdaRank:
    Burges 2010; as a loss: Wang et al. 2018).

    >>> import jax.numpy as jnp
    >>> about = {"positive": jnp.ones(1), "sampled": jnp.asarray([3]), "log_expected": jnp.zeros(1)}
    >>> round(float(lambdarank(jnp.zeros((1, 1)), jnp.asarray([7]), **about)), 4)  # (1 - 1/log2(3)) log(1 + 1/e)
    0.1156
    """
    check_sampled(scores, labels, where, positive, sampled, log_expected)
    others = _others(scores, labels, sampled)
    above = positive[..., None] < others
    rank = 1 + above.sum(-1, keepdims=True)
    order = jnp.argsort(jnp.argsort(-others, -1), -1)  # places among the samples, from 0
    ranks = 1 + order + ~above
    worth = jax.lax.stop_gradient(jnp.abs(_discount(rank) - _discount(ranks)))
    return mean((worth * jax.nn.softplus(others - positive[..., None])).sum(-1), where)


def ndcg(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    positive: jax.Array,
    sampled: jax.Array,
    log_expected: jax.Array,
    temperature: float = 1.0,
) -> jax.Array:
    """One minus NDCG with the label's rank made smooth, 1 + sum of sigmoids (ApproxNDCG: Qin et al. 2010, Bruch et al.
    2019).

    >>> import jax.numpy as jnp
    >>> about = {"positive": jnp.zeros(1), "sampled": jnp.asarray([3, 4]), "log_expected": jnp.zeros(2)}
    >>> round(float(ndcg(jnp.zeros((1, 2)), jnp.asarray([7]), **about)), 4)  # rank 2: 1 - 1/log2(3)
    0.3691
    """
    check_sampled(scores, labels, where, positive, sampled, log_expected)
    above = jax.nn.sigmoid((_others(scores, labels, sampled) - positive[..., None]) / temperature)
    return mean(1 - _discount(1 + above.sum(-1)), where)


LISTWISE = {"warp": warp, "listnet": listnet, "listmle": listmle, "lambdarank": lambdarank, "ndcg": ndcg}
"""Losses of learning to rank, by their names in a config."""


def _others(scores: jax.Array, labels: jax.Array, sampled: jax.Array) -> jax.Array:
    return jnp.where(sampled == labels[..., None], _NEVER, scores)


def _discount(rank: jax.Array) -> jax.Array:
    return 1 / jnp.log2(1 + rank)
