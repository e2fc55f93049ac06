"""Histories as weighted items: the encodings of models that sum over the items of a history."""

from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.errors import UserError
from rexjax.models.scorer import Query

Unit = Literal["events", "times"]
"""What one step of recency is: an event, or a distinct time (all events of an invoice share a time)."""


class WeightedItems(NamedTuple):
    """The distinct items of each history; leading dimensions [B] or [B, L]."""

    ids: jax.Array
    """int32 [..., L'], -1 is padding."""
    weights: jax.Array
    """float32 [..., L'], 0 where an item occurs again later, and at padding."""


class Encoders(NamedTuple):
    """The functions of a ``Scorer`` that make encodings."""

    encode: Any
    """(state, query) → ``WeightedItems`` [B, L']."""
    encode_positions: Any
    """(state, batch) → ``WeightedItems`` [B, L, L]."""


@cache  # equal settings share their functions: they are static in jit, and new ones would compile again
def encoders(decay: float, recency: Unit) -> Encoders:
    """Encoders that weigh an item by ``decay ** age``.

    The age of an item is the number of steps between its latest event and the latest event of the history.

    Args:
        decay: weight per step, from 0 (only the latest step) to 1 (all alike).
        recency: what a step is.
    """

    def encode(state: Any, query: Query) -> WeightedItems:
        return weigh(query, decay, recency)

    def encode_positions(state: Any, batch: Any) -> WeightedItems:
        return weigh_positions(batch, decay, recency)

    return Encoders(encode, encode_positions)


def weigh(query: Query, decay: float, recency: Unit) -> WeightedItems:
    """The items of whole histories [B, L'], weighted by recency.

    Raises:
        UserError: steps are times and the request has none.
    """
    ids, places = query.histories, jnp.arange(query.histories.shape[1])
    if recency == "times":
        if query.times is None:
            raise UserError("recency 'times' needs the time of each event: send them, or fit the model with 'events'")
        steps = _count_times(query.times[:, :-1])
    else:
        steps = jnp.broadcast_to(places, ids.shape)
    again = (ids[:, :, None] == ids[:, None, :]) & (places > places[:, None])
    ages = (steps[:, -1:] - steps).astype(jnp.float32)
    return WeightedItems(ids, jnp.where((ids >= 0) & ~again.any(2), jnp.power(decay, ages), 0))


def weigh_positions(batch: Any, decay: float, recency: Unit) -> WeightedItems:
    """The same after each position of packed rows, ``rexjax.data.batches.Batch`` [B, L]; [B, position, event]."""
    items, segments = jnp.asarray(batch.items), jnp.asarray(batch.segments)
    length = items.shape[1]
    places = jnp.arange(length)
    known = (places <= places[:, None]) & (segments[:, None, :] == segments[:, :, None]) & (segments > 0)[:, None]
    steps = (
        _count_times(jnp.asarray(batch.times)[..., 0]) if recency == "times" else jnp.broadcast_to(places, items.shape)
    )
    same = (items[:, :, None] == items[:, None]) & (segments[:, :, None] == segments[:, None])
    following = jnp.min(jnp.where(same & (places > places[:, None]), places, length), 2)  # next occurrence
    ages = jnp.where(known, steps[:, :, None] - steps[:, None], 0).astype(jnp.float32)
    counted = known & (following[:, None] > places[:, None])
    ids = jnp.broadcast_to(items[:, None], counted.shape)
    return WeightedItems(jnp.where(known, ids, -1), jnp.where(counted, jnp.power(decay, ages), 0))


def _count_times(times: jax.Array) -> jax.Array:
    """How often the time changes up to each event: [..., L] → int32 [..., L]; only differences mean something."""
    changes = times[..., 1:] != times[..., :-1]
    return jnp.pad(jnp.cumsum(changes, -1, dtype=jnp.int32), [(0, 0)] * (times.ndim - 1) + [(1, 0)])
