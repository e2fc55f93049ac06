"""A fitted model as it answers: all that evaluation, distillation and serving know of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

USER = "user"
"""The feature int32 [B]: the user's dense id in the log, -1 where it is not known."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Query:
    """A batch of requests."""

    histories: jax.Array
    """int32 [B, L'], items, the latest last, -1 before them; L' is the longest history L or shorter."""
    times: jax.Array | None = None
    """int32 [B, L' + 1], of the events and of the request, in the log's unit since the user's first event."""
    features: Mapping[str, jax.Array] = field(default_factory=dict)
    """Arrays [B, ...] by name: those that the model reads (``Scorer.reads``), and no others."""


def _static(default: Any = None) -> Any:
    return field(default=default, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scorer:
    """Resident arrays and pure functions of them; the functions are static, so that a Scorer may enter ``jit``."""

    state: Any
    """A pytree of arrays: all that is stored and served."""
    encode: Callable[[Any, Query], Any] = field(metadata={"static": True})
    """(state, query) → any pytree of arrays with a leading B."""
    score: Callable[[Any, Any, jax.Array], jax.Array] = field(metadata={"static": True})
    """(state, encoded, item ids int32 [C]) → float32 [B, C]. Scores of some items are those of all items at their
    ids."""
    items: int = field(metadata={"static": True})
    """Size of the catalogue, N."""
    vectors: Callable[[Any], Any] | None = _static()
    """(state) → item rows [N, D], where scores are the dot products of [B, D] encodings with them; None: they are
    not. Such models have a faster top-k, can be quantised and exported."""
    encode_positions: Callable[[Any, Any], Any] | None = _static()
    """(state, ``rexjax.data.batches.Batch``) → encodings after each position of packed rows, a pytree with leading
    [B, L]; None: ``positions_of`` makes a query of each prefix."""
    score_positions: Callable[[Any, Any, jax.Array], jax.Array] | None = _static()
    """(state, encodings of positions, item ids int32 [C]) → float32 [B, L, C], where that is cheaper than ``score`` of
    B * L requests; None: it is not."""
    explain: Callable[[Any, Query, jax.Array], jax.Array] | None = _static()
    """(state, query, items int32 [B]) → float32 [B, L' + 1]: what each event gave to the item's score, and the rest;
    None where the score is no such sum."""
    scale: float | None = _static()
    """Scores times it are logits of a softmax over the catalogue that the model was trained by; None: they are not."""
    reads: tuple[str, ...] = _static(())
    """Names of the features of a query that ``encode`` reads, such as ``USER``."""


def ask(scorer: Scorer, histories: Any, times: Any | None = None, features: Mapping[str, Any] | None = None) -> Query:
    """A query with those features that a model reads, so that other models are compiled without them.

    Args:
        scorer: the model.
        histories: int32 [B, L'], see ``Query``.
        times: int32 [B, L' + 1], or None.
        features: arrays [B, ...] by name, or None.
    """
    known = features or {}
    return Query(histories, times, {name: known[name] for name in scorer.reads if name in known})


def owners(offsets: np.ndarray, events: np.ndarray) -> np.ndarray:
    """The user of each event: int32, in the shape of ``events``.

    Args:
        offsets: int64 [U + 1], where each user's events begin in the log.
        events: int64 [...], places in the log.
    """
    return (np.searchsorted(offsets, events, "right") - 1).astype(np.int32)


def positions_of(scorer: Scorer, state: Any, batch: Any) -> Any:
    """Encodings after each position of packed rows: a pytree with leading [B, L].

    Args:
        scorer: the model.
        state: its arrays.
        batch: ``rexjax.data.batches.Batch`` of rows [B, L].
    """
    if scorer.encode_positions:
        return scorer.encode_positions(state, batch)
    rows, length = batch.items.shape
    encoded = scorer.encode(state, prefixes(batch))
    return jax.tree.map(lambda leaf: leaf.reshape(rows, length, *leaf.shape[1:]), encoded)


def scores_of_positions(scorer: Scorer, state: Any, encoded: Any, ids: jax.Array) -> jax.Array:
    """Scores of some items after each position: float32 [B, L, C].

    Args:
        scorer: the model.
        state: its arrays.
        encoded: what ``positions_of`` gave.
        ids: int32 [C].
    """
    if scorer.score_positions:
        return scorer.score_positions(state, encoded, ids)
    rows, length = jax.tree.leaves(encoded)[0].shape[:2]
    flat = jax.tree.map(lambda leaf: leaf.reshape(rows * length, *leaf.shape[2:]), encoded)
    return scorer.score(state, flat, ids).reshape(rows, length, len(ids))


def prefixes(batch: Any) -> Query:
    """One request for each position of packed rows [B, L]: the history up to it, [B * L, L]."""
    rows, length = batch.items.shape
    at = jnp.arange(length)[:, None] - length + 1 + jnp.arange(length)  # [position, place in the history]
    here = jnp.maximum(at, 0)
    same = (at >= 0) & (batch.segments[:, here] == batch.segments[:, :, None]) & (batch.segments > 0)[:, :, None]
    histories = jnp.where(same, batch.items[:, here], -1).reshape(rows * length, length)
    events = jnp.where(same, batch.times[:, here, 0], 0).reshape(rows * length, length)
    features = {} if batch.users is None else {USER: batch.users.reshape(-1)}
    for name, values in (batch.features or {}).items():
        features[name] = values.reshape(rows * length, *values.shape[2:])
    return Query(histories, jnp.concatenate([events, batch.times[:, :, 1].reshape(-1, 1)], 1), features)


def dot_product(encode: Callable[..., jax.Array], items: jax.Array) -> Scorer:
    """A scorer of user and item vectors that are there already.

    Args:
        encode: (histories int32 [B, L'], and times int32 [B, L' + 1] where requests have them) → float32 [B, D].
        items: float32 [N, D].
    """

    def encode_query(state: jax.Array, query: Query) -> jax.Array:
        return encode(query.histories) if query.times is None else encode(query.histories, query.times)

    def score(state: jax.Array, users: jax.Array, ids: jax.Array) -> jax.Array:
        return jnp.einsum("bd,nd->bn", users, state[ids], precision="highest")

    return Scorer(jnp.asarray(items), encode_query, score, len(items), vectors=lambda state: state)


def score_matrix(scores: jax.Array) -> Scorer:
    """A scorer of scores [U, N] that are there already: the history of user u is the one "item" u."""
    return Scorer(jnp.asarray(scores), _row_of_user, _columns, jnp.shape(scores)[1])


def _row_of_user(state: jax.Array, query: Query) -> jax.Array:
    return state[query.histories[:, -1]]


def _columns(state: jax.Array, scores: jax.Array, ids: jax.Array) -> jax.Array:
    return scores[:, ids]
