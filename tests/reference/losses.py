"""Losses position by position in float64, from logits that are whole."""

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.losses.sharded_softmax import Targets


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))."""
    return np.log1p(np.exp(x))


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis, float64."""
    scores = np.asarray(scores, np.float64)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def averaged(values: np.ndarray, where: np.ndarray | None) -> float:
    """The mean of ``values`` over positions where ``where``; 0 if there is none."""
    chosen = values if where is None else values[where]
    return chosen.mean() if chosen.size else 0.0


def softmax_cross_entropy(scores: np.ndarray, labels: np.ndarray, where: np.ndarray | None = None) -> float:
    """scores [..., V], labels int [...]."""
    logs = log_softmax(scores)
    return averaged(np.asarray([-logs[at][labels[at]] for at in np.ndindex(labels.shape)]).reshape(labels.shape), where)


def soft_cross_entropy(scores: np.ndarray, labels: np.ndarray, where: np.ndarray | None = None) -> float:
    """scores and labels [..., V]."""
    return averaged(-(log_softmax(scores) * labels).sum(-1), where)


def sampled_softmax(
    scores: np.ndarray, labels: np.ndarray, ids: np.ndarray, log_expected: np.ndarray, where: np.ndarray | None = None
) -> float:
    """Scores [..., V] of all items, of which ``ids`` [M] were drawn as often as exp(log_expected) [M] says."""
    values = np.empty(labels.shape)
    for at in np.ndindex(labels.shape):
        label, row = labels[at], scores[at].astype(np.float64)
        others = [np.exp(row[i]) / np.exp(q) for i, q in zip(ids, log_expected, strict=True) if i != label]
        values[at] = np.log(np.exp(row[label]) + sum(others)) - row[label]
    return averaged(values, where)


def over_samples(
    kind: str, scores: np.ndarray, labels: np.ndarray, ids: np.ndarray, share: float, where: np.ndarray | None = None
) -> float:
    """ "bce", "gbce" with calibration 0.75, or "bpr": scores [..., V] of all items, of which ``ids`` [M] were drawn."""
    power = share * (0.75 * (1 - 1 / share) + 1 / share) if kind == "gbce" else 1.0
    values = np.empty(labels.shape)
    for at in np.ndindex(labels.shape):
        row = scores[at].astype(np.float64)
        own, others = row[labels[at]], row[ids[ids != labels[at]]]
        if kind == "bpr":
            values[at] = softplus(others - own).sum() / len(ids)
        else:
            values[at] = (power * softplus(-own) + softplus(others).sum()) / (len(ids) + 1)
    return averaged(values, where)


def over_lists(
    kind: str, scores: np.ndarray, labels: np.ndarray, ids: np.ndarray, share: float, where: np.ndarray | None = None
) -> float:
    """ "warp", "listnet", "listmle", "lambdarank" or "ndcg": scores [..., V] of all items, of which ``ids`` [M] were
    drawn, list by list."""
    values = np.empty(labels.shape)
    for at in np.ndindex(labels.shape):
        row = scores[at].astype(np.float64)
        values[at] = LISTS[kind](np.append(row[labels[at]], row[ids[ids != labels[at]]]), share)
    return averaged(values, where)


def _warp(scores: np.ndarray, share: float) -> float:
    violating = [1 - scores[0] + other for other in scores[1:] if 1 - scores[0] + other > 0]
    rank = round(len(violating) / share)
    return sum(1 / place for place in range(1, rank + 1)) * float(np.mean(violating)) if violating else 0.0


def _listmle(scores: np.ndarray, share: float) -> float:
    places = [np.log(np.exp(scores[place:]).sum()) - scores[place] for place in range(len(scores))]
    return float(np.mean(places))


def _lambdarank(scores: np.ndarray, share: float) -> float:
    gains = 1 / np.log2(2 + np.argsort(np.argsort(-scores, kind="stable"), kind="stable"))
    return float(np.abs(gains[0] - gains[1:]) @ softplus(scores[1:] - scores[0]))


def _ndcg(scores: np.ndarray, share: float) -> float:
    return 1 - 1 / float(np.log2(2 + (1 / (1 + np.exp(scores[0] - scores[1:]))).sum()))


LISTS = {
    "warp": _warp,
    "listnet": lambda scores, share: np.log(np.exp(scores).sum()) - scores[0],
    "listmle": _listmle,
    "lambdarank": _lambdarank,
    "ndcg": _ndcg,
}


def whole_cross_entropy(
    users: jax.Array, items: jax.Array, targets: Targets, real: jax.Array, scale: float
) -> jax.Array:
    """float32 [T], from whole logits [T, P]; in JAX, so that its gradient is that of the definition."""
    scores = jnp.where(real, scale * jnp.einsum("td,vd->tv", users, items, precision="highest"), -jnp.inf)
    logs = scores - jax.nn.logsumexp(scores, -1, keepdims=True)
    known = jnp.where(targets.rows >= 0, jnp.take_along_axis(logs, jnp.maximum(targets.rows, 0), 1), 0)
    missing = jnp.where(targets.rows >= 0, 0, targets.weights).sum(1) * jax.nn.logsumexp(scores, -1)
    return missing - (targets.weights * known).sum(1)
