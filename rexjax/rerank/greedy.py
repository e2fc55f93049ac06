"""The loop that all re-rankings share: take the best candidate, remember what it changes, take the next."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.runtime.arguments import check_floats, check_rank, check_shape

BLOCK = 8
"""Lists at a time, the fastest of 1 to 256 for 200 candidates of width 64."""
TOLERANCE = 1e-3
"""Of the length of a unit vector."""


def choose(
    scores: jax.Array,
    k: int,
    value: Callable[[Any, jax.Array], jax.Array],
    update: Callable[[Any, jax.Array, jax.Array], Any],
    memory: Any,
) -> jax.Array:
    """Takes k candidates of each list, each the best given those before it.

    Args:
        scores: float32 [B, C]; -inf where there is no candidate.
        k: at most C.
        value: (memory, place) → [B, C], what a candidate adds at this place; -inf: it may not be taken.
        update: (memory, taken int32 [B], place) → the memory after the candidate is taken.
        memory: a pytree, before the first place.

    Returns:
        int32 [B, k], places among the candidates; -1 where none may be taken. Equal values go to the smaller place.
    """
    lists = jnp.arange(scores.shape[0])

    def step(place: jax.Array, carry: tuple[jax.Array, jax.Array, Any]) -> tuple[jax.Array, jax.Array, Any]:
        free, taken, memory = carry
        values = jnp.where(free, value(memory, place), -jnp.inf)
        best = jnp.argmax(values, 1).astype(jnp.int32)
        there = values[lists, best] > -jnp.inf
        taken = taken.at[:, place].set(jnp.where(there, best, -1))
        return free.at[lists, best].set(False), taken, update(memory, best, place)

    nothing = jnp.full((scores.shape[0], k), -1, jnp.int32)
    return jax.lax.fori_loop(0, k, step, (scores > -jnp.inf, nothing, memory))[1]


def in_blocks(program: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """``program`` of arrays [B, ...], a few lists at a time, so that what it remembers of them stays in the cache.

    The lists of a block lie ``B / BLOCK`` apart: with B spread over devices, each device has lists of its own in every
    block.
    """
    lists = arrays[0].shape[0]
    if not isinstance(lists, int) or lists <= BLOCK:  # a symbolic size, in an export for any batch
        return program(*arrays)
    short = -lists % BLOCK
    blocks = [
        jnp.pad(array, ((0, short), *((0, 0),) * (array.ndim - 1)), mode="edge").reshape(BLOCK, -1, *array.shape[1:])
        for array in arrays
    ]
    found = jax.lax.map(lambda at: program(*(block[:, at] for block in blocks)), jnp.arange(blocks[0].shape[1]))
    return jnp.moveaxis(found, 0, 1).reshape(-1, *found.shape[2:])[:lists]


def per_list(strength: jax.Array | float, scores: jax.Array) -> jax.Array:
    """float32 [B], from a strength [] or [B]."""
    return jnp.broadcast_to(jnp.asarray(strength, jnp.float32), scores.shape[:1])


def blend(scores: jax.Array, gain: jax.Array, strength: jax.Array) -> jax.Array:
    """``(1 - strength) score + strength gain``: [B, C], with a strength [B]."""
    strength = strength[:, None]
    return (1 - strength) * jnp.where(scores > -jnp.inf, scores, 0) + strength * gain


def take(values: jax.Array, at: jax.Array) -> jax.Array:
    """[B, ...] of values [B, C, ...] at places int32 [B]."""
    return values[jnp.arange(values.shape[0]), at]


def check_candidates(scores: Any, k: int, strength: Any) -> None:
    """Raises TypeError or ValueError where scores [B, C], k or strength do not fit."""
    check_floats("scores", scores)
    check_rank("scores", scores, "[B, C]")
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k is {k}: with {scores.shape[1]} candidates it must lie in 1 … {scores.shape[1]}")
    if np.ndim(strength):
        check_shape("strength", strength, (scores.shape[0],), "scores")
    values = concrete(strength)
    if values is not None and not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"strength goes from {values.min():g} to {values.max():g}: it must lie in 0 … 1")


def check_of_candidates(name: str, values: Any, scores: Any) -> None:
    """Raises TypeError or ValueError unless ``values`` are floats [B, C, …] beside ``scores``."""
    check_floats(name, values)
    check_rank(name, values, "[B, C, D]")
    check_shape(name, values, (*scores.shape, values.shape[2]), "scores")


def check_unit(name: str, vectors: Any) -> None:
    """Raises ValueError where a concrete vector is neither a unit vector nor zero."""
    values = concrete(vectors)
    if values is None:
        return
    lengths = np.linalg.norm(values, axis=-1)
    wrong = (np.abs(lengths - 1) > TOLERANCE) & (lengths > 0)
    if wrong.any():
        raise ValueError(
            f"{name} holds {wrong.sum()} vectors that are not unit, such as one of length {lengths[wrong][0]:.3g}: "
            "divide each by its length"
        )


def concrete(values: Any) -> np.ndarray | None:
    """The numbers, or None while they are traced."""
    return None if isinstance(values, jax.core.Tracer) else np.asarray(values)
