"""Lists whose items are unlike each other: MMR and determinantal point processes."""

from functools import partial

import jax
import jax.numpy as jnp

from rexjax.rerank.greedy import (
    blend,
    check_candidates,
    check_of_candidates,
    check_unit,
    choose,
    in_blocks,
    per_list,
    take,
)

LEAST_VOLUME = 1e-6
"""Squared distance of a candidate to the span of the taken ones from which on it counts as within the span."""


def mmr(scores: jax.Array, vectors: jax.Array, k: int, strength: jax.Array | float) -> jax.Array:
    """Maximal marginal relevance (Carbonell & Goldstein 1998).

    The next item has the largest ``(1 - strength) score - strength max cosine`` to an item that is taken already.

    Args:
        scores: float32 [B, C], in the range of cosines, such as 0 to 1; -inf where there is no candidate.
        vectors: float32 [B, C, D], unit vectors, or zeros for items that are like no other.
        k: at most C.
        strength: float32 [] or [B], from 0, the order of scores, to 1, unlikeness alone.

    Returns:
        int32 [B, k], places among the candidates, in order; -1 where none is left. Ties go to the smaller place.

    Raises:
        TypeError: scores or vectors are no floats.
        ValueError: k is not from 1 to C, shapes do not fit, or concrete vectors are not unit.

    >>> import jax.numpy as jnp
    >>> scores, vectors = jnp.asarray([[1.0, 0.9, 0.5]]), jnp.asarray([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> mmr(scores, vectors, 2, 0.0).tolist(), mmr(scores, vectors, 2, 0.5).tolist()
    ([[0, 1]], [[0, 2]])
    """
    _check(scores, vectors, k, strength)
    return _mmr(scores, vectors, per_list(strength, scores), k)


@partial(jax.jit, static_argnums=3)
def _mmr(scores: jax.Array, vectors: jax.Array, strength: jax.Array, k: int) -> jax.Array:
    return in_blocks(partial(_mmr_of_block, k=k), scores, vectors, strength)


def _mmr_of_block(scores: jax.Array, vectors: jax.Array, strength: jax.Array, k: int) -> jax.Array:
    def value(nearest: jax.Array, place: jax.Array) -> jax.Array:
        return blend(scores, -nearest, strength)

    def update(nearest: jax.Array, taken: jax.Array, place: jax.Array) -> jax.Array:
        return jnp.maximum(nearest, _cosines(vectors, taken))

    return choose(scores, k, value, update, jnp.full(scores.shape, -1.0))  # -1: alike for all, so that scores decide


def dpp(scores: jax.Array, vectors: jax.Array, k: int, strength: jax.Array | float) -> jax.Array:
    """Greedy MAP of a determinantal point process by Cholesky updates (Chen, Zhang & Zhou 2018).

    The next item adds most to ``(1 - strength) sum of scores + strength log det of the cosines``. For a strength below
    1 that is the log-determinant of Chen's kernel with relevance ``exp(score (1 - strength) / (2 strength))``.

    Args:
        scores: float32 [B, C]; -inf where there is no candidate.
        vectors: float32 [B, C, D], unit vectors, or zeros for items that are like no other.
        k: at most C. Beyond D places no volume is left, and scores alone decide.
        strength: float32 [] or [B], from 0, the order of scores, to 1, volume alone.

    Returns:
        int32 [B, k], places among the candidates, in order; -1 where none is left. Ties go to the smaller place.

    Raises:
        TypeError: scores or vectors are no floats.
        ValueError: k is not from 1 to C, shapes do not fit, or concrete vectors are not unit.

    >>> import jax.numpy as jnp
    >>> scores, vectors = jnp.asarray([[1.0, 0.9, 0.5]]), jnp.asarray([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> dpp(scores, vectors, 2, 0.0).tolist(), dpp(scores, vectors, 2, 0.5).tolist()
    ([[0, 1]], [[0, 2]])
    """
    _check(scores, vectors, k, strength)
    return _dpp(scores, vectors, per_list(strength, scores), k)


@partial(jax.jit, static_argnums=3)
def _dpp(scores: jax.Array, vectors: jax.Array, strength: jax.Array, k: int) -> jax.Array:
    return in_blocks(partial(_dpp_of_block, k=k), scores, vectors, strength)


def _dpp_of_block(scores: jax.Array, vectors: jax.Array, strength: jax.Array, k: int) -> jax.Array:
    """The memory is each candidate's squared distance to the span, and the rows of the Cholesky factor, [B, k, C]."""
    users, candidates = scores.shape

    def value(memory: tuple[jax.Array, jax.Array], place: jax.Array) -> jax.Array:
        return blend(scores, jnp.log(jnp.maximum(memory[0], LEAST_VOLUME)), strength)

    def update(memory: tuple[jax.Array, jax.Array], taken: jax.Array, place: jax.Array) -> tuple[jax.Array, jax.Array]:
        volume, factor = memory
        own = take(volume, taken)[:, None]
        of_taken = jnp.take_along_axis(factor, taken[:, None, None], 2)  # [B, k, 1]
        rest = _cosines(vectors, taken) - (factor * of_taken).sum(1)
        row = jnp.where(own > LEAST_VOLUME, rest * jax.lax.rsqrt(jnp.maximum(own, LEAST_VOLUME)), 0)
        return volume - row**2, factor.at[:, place].set(row)

    return choose(scores, k, value, update, (jnp.ones(scores.shape), jnp.zeros((users, k, candidates))))


def _cosines(vectors: jax.Array, taken: jax.Array) -> jax.Array:
    """[B, C], of all candidates with the one that was taken."""
    return jnp.einsum("bcd,bd->bc", vectors, take(vectors, taken), precision="highest")


def _check(scores: jax.Array, vectors: jax.Array, k: int, strength: jax.Array | float) -> None:
    check_candidates(scores, k, strength)
    check_of_candidates("vectors", vectors, scores)
    check_unit("vectors", vectors)
