"""Lists that cover what a user takes: xQuAD and calibrated recommendations."""

from functools import partial

import jax
import jax.numpy as jnp

from rexjax.rerank.greedy import (
    blend,
    check_candidates,
    check_of_candidates,
    choose,
    per_list,
    take,
)
from rexjax.runtime.arguments import check_floats, check_shape

SMOOTHING = 0.01
"""Share of the user's own distribution in the list's, so that the divergence is finite (Steck 2018)."""


def xquad(scores: jax.Array, shares: jax.Array, own: jax.Array, k: int, strength: jax.Array | float) -> jax.Array:
    """Explicit query aspect diversification (Santos, Macdonald & Ounis 2010).

    The next item adds most to ``(1 - strength) score + strength sum_g own_g share_g prod (1 - share_g of the taken)``.

    Args:
        scores: float32 [B, C], in the range of probabilities; -inf where there is no candidate.
        shares: float32 [B, C, G], how much of each candidate is of each category, from 0 to 1.
        own: float32 [B, G], the user's shares of the categories.
        k: at most C.
        strength: float32 [] or [B], from 0, the order of scores, to 1, coverage alone.

    Returns:
        int32 [B, k], places among the candidates, in order; -1 where none is left. Ties go to the smaller place.

    Raises:
        TypeError: an array is not of floats.
        ValueError: k is not from 1 to C, or shapes do not fit.

    >>> import jax.numpy as jnp
    >>> scores, shares = jnp.asarray([[1.0, 0.9, 0.5]]), jnp.asarray([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> xquad(scores, shares, jnp.asarray([[0.5, 0.5]]), 2, 0.5).tolist()
    [[0, 2]]
    """
    _check(scores, shares, own, k, strength)
    return _xquad(scores, shares, own, per_list(strength, scores), k)


@partial(jax.jit, static_argnums=4)
def _xquad(scores: jax.Array, shares: jax.Array, own: jax.Array, strength: jax.Array, k: int) -> jax.Array:
    def value(uncovered: jax.Array, place: jax.Array) -> jax.Array:
        return blend(scores, jnp.einsum("bcg,bg->bc", shares, own * uncovered, precision="highest"), strength)

    def update(uncovered: jax.Array, taken: jax.Array, place: jax.Array) -> jax.Array:
        return uncovered * (1 - take(shares, taken))

    return choose(scores, k, value, update, jnp.ones(own.shape))


def calibrated(scores: jax.Array, shares: jax.Array, own: jax.Array, k: int, strength: jax.Array | float) -> jax.Array:
    """Calibrated recommendations (Steck 2018): lists with the user's own shares of the categories.

    The next item makes ``(1 - strength) sum of scores - strength KL(own, list)`` largest. The list's distribution is
    the mean of its items' shares, with 1 % of the user's own.

    Args:
        scores: float32 [B, C]; -inf where there is no candidate.
        shares: float32 [B, C, G], how much of each candidate is of each category, which sum to 1 or, unknown, to 0.
        own: float32 [B, G], the user's shares of the categories; zeros where they are unknown: scores decide.
        k: at most C.
        strength: float32 [] or [B], from 0, the order of scores, to 1, calibration alone.

    Returns:
        int32 [B, k], places among the candidates, in order; -1 where none is left. Ties go to the smaller place.

    Raises:
        TypeError: an array is not of floats.
        ValueError: k is not from 1 to C, or shapes do not fit.

    >>> import jax.numpy as jnp
    >>> scores, shares = jnp.asarray([[1.0, 0.9, 0.5]]), jnp.asarray([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> calibrated(scores, shares, jnp.asarray([[0.5, 0.5]]), 2, 0.5).tolist()
    [[0, 2]]
    """
    _check(scores, shares, own, k, strength)
    return _calibrated(scores, shares, own, per_list(strength, scores), k)


@partial(jax.jit, static_argnums=4)
def _calibrated(scores: jax.Array, shares: jax.Array, own: jax.Array, strength: jax.Array, k: int) -> jax.Array:
    def value(total: jax.Array, place: jax.Array) -> jax.Array:
        listed = (total[:, None] + shares) / (place + 1)
        smooth = jnp.maximum((1 - SMOOTHING) * listed + SMOOTHING * own[:, None], jnp.finfo(jnp.float32).tiny)
        return blend(scores, (own[:, None] * jnp.log(smooth)).sum(2), strength)  # own · log(own) is alike for all

    def update(total: jax.Array, taken: jax.Array, place: jax.Array) -> jax.Array:
        return total + take(shares, taken)

    return choose(scores, k, value, update, jnp.zeros(own.shape))


def divergence(own: jax.Array, listed: jax.Array) -> jax.Array:
    """Steck's KL(own, list) in nats: 0 where a list has the user's own shares.

    Args:
        own: float32 [B, G].
        listed: float32 [B, G], mean of the shares of the list's items.

    Returns:
        float32 [B].

    >>> import jax.numpy as jnp
    >>> own = jnp.asarray([[0.5, 0.5]])
    >>> divergence(own, own).tolist()
    [0.0]
    """
    smooth = (1 - SMOOTHING) * listed + SMOOTHING * own
    ratio = jnp.where(own > 0, own, 1) / jnp.where(own > 0, smooth, 1)
    return (own * jnp.log(ratio)).sum(1)


def _check(scores: jax.Array, shares: jax.Array, own: jax.Array, k: int, strength: jax.Array | float) -> None:
    check_candidates(scores, k, strength)
    check_of_candidates("shares", shares, scores)
    check_floats("own", own)
    check_shape("own", own, (scores.shape[0], shares.shape[2]), "shares")
