"""What a ranker reads of a request and of the items that were retrieved for it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.models.scorer import Query, Scorer
from rexjax.models.user_rows import users_of

LEAST = 1e-9
"""Of a deviation: a model whose scores are all alike says nothing."""


class Candidates(NamedTuple):
    """The items that were retrieved for each request."""

    ids: jax.Array
    """int32 [B, K], the best first."""
    scores: jax.Array
    """float32 [B, K, 1 + S], standard scores of the retrieving model and of each signal."""
    base: jax.Array
    """float32 [B, N], standard scores of the retrieving model."""


def standard_scores(scorer: Scorer, state: Any, query: Query) -> jax.Array:
    """Scores of the whole catalogue with mean 0 and deviation 1 for each request: float32 [B, N].

    Args:
        scorer: any model; its state is not used.
        state: its arrays.
        query: requests.
    """
    scores = scorer.score(state, scorer.encode(state, query), jnp.arange(scorer.items))
    centred = scores - scores.mean(1, keepdims=True)
    return centred / jnp.maximum(scores.std(1, keepdims=True), LEAST)


def retrieve(
    scorers: Sequence[Scorer], states: Sequence[Any], query: Query, k: int, exclude_seen: jax.Array
) -> Candidates:
    """The k best items of the first model, and what all models say of them.

    Args:
        scorers: the retrieving model, then signals.
        states: their arrays.
        query: requests.
        k: at most N.
        exclude_seen: bool scalar: items of the history are retrieved last.
    """
    of_all = [standard_scores(scorer, state, query) for scorer, state in zip(scorers, states, strict=True)]
    seen = exclude_seen & (_counts(query.histories, of_all[0].shape[1]) > 0)
    _, ids = jax.lax.top_k(jnp.where(seen, -jnp.inf, of_all[0]), k)
    scores = jnp.stack([jnp.take_along_axis(scores, ids, 1) for scores in of_all], 2)
    return Candidates(ids.astype(jnp.int32), scores, of_all[0])


def describe(
    query: Query, ids: jax.Array, scores: jax.Array, ranks: jax.Array, popularity: jax.Array, last: int
) -> dict[str, jax.Array]:
    """Named arrays of B K examples, one for each item that was retrieved.

    Args:
        query: requests.
        ids: int32 [B, K], items.
        scores: float32 [B, K, 1 + S], standard scores of the models.
        ranks: int32 [B, K], places among the retrieved, from 0.
        popularity: float32 [N].
        last: items of the history in the bag "last_items".

    Returns:
        "user" and "item" int32 [B K], where 0 is an unknown user, "last_items" int32 [B K, last], and numbers float32
        [B K]: "score_0" …, "rank", "popularity", "count" (of the item in the history), "recency" (events since the
        item's last one), "length" (of the history) and "gap" (since the latest event).
    """
    batch, count = ids.shape
    histories, places = query.histories, jnp.arange(query.histories.shape[1])
    same = histories[:, None] == ids[..., None]
    latest = jnp.where(same, places, -1).max(2)
    bag = jnp.pad(histories, ((0, 0), (last, 0)), constant_values=-1)[:, -last:]
    numbers = {f"score_{place}": scores[..., place] for place in range(scores.shape[2])} | {
        "rank": jnp.log1p(ranks.astype(jnp.float32)),
        "popularity": popularity[ids],
        "count": jnp.log1p(same.sum(2).astype(jnp.float32)),
        "recency": jnp.where(latest >= 0, 1 / (histories.shape[1] - latest).astype(jnp.float32), 0),
        "length": _across(jnp.log1p((histories >= 0).sum(1).astype(jnp.float32)), count),
        "gap": _across(_gap(query), count),
    }
    found = {name: jnp.broadcast_to(values, ids.shape).reshape(-1) for name, values in numbers.items()}
    return found | {
        "user": jnp.repeat(users_of(query) + 1, count),
        "item": ids.reshape(-1) + 1,
        "last_items": jnp.repeat(jnp.where(bag >= 0, bag + 1, -1), count, 0),
    }


def numbers_of(signals: int) -> tuple[str, ...]:
    """Names of the numbers that ``describe`` gives with S signals."""
    scores = tuple(f"score_{place}" for place in range(1 + signals))
    return (*scores, "rank", "popularity", "count", "recency", "length", "gap")


def standardise(arrays: Mapping[str, jax.Array], moments: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The arrays, with those numbers centred and scaled whose mean and deviation float32 [2] are given."""
    scaled = {name: (arrays[name] - mean_std[0]) / mean_std[1] for name, mean_std in moments.items()}
    return dict(arrays) | scaled


def place_ranked(candidates: Candidates, logits: jax.Array) -> jax.Array:
    """Scores of the whole catalogue, float32 [B, N]: the retrieved items by their logits [B, K], all others below them
    in the order of the retrieving model.

    >>> import jax.numpy as jnp
    >>> found = Candidates(jnp.asarray([[2, 0]]), jnp.zeros((1, 2, 1)), jnp.asarray([[2.0, 1.0, 3.0, 0.0]]))
    >>> place_ranked(found, jnp.asarray([[0.5, 0.75]])).tolist()
    [[0.75, -2.5, 0.5, -3.5]]
    """
    lowest = logits.min(1, keepdims=True) - 1
    rest = candidates.base - candidates.base.max(1, keepdims=True) + lowest
    rows = jnp.arange(len(logits))[:, None]
    return rest.at[rows, candidates.ids].set(logits)


def _counts(histories: jax.Array, items: int) -> jax.Array:
    """How often each item stands in each history: int32 [B, N]."""
    rows = jnp.arange(len(histories))[:, None]
    there = jnp.where(histories >= 0, histories, items)
    return jnp.zeros((len(histories), items), jnp.int32).at[rows, there].add(1, mode="drop")


def _gap(query: Query) -> jax.Array:
    """float32 [B], logarithm of the time since the latest event; 0 where requests have no times."""
    if query.times is None:
        return jnp.zeros(len(query.histories), jnp.float32)
    return jnp.log1p(jnp.maximum(query.times[:, -1] - query.times[:, -2], 0).astype(jnp.float32))


def _across(values: jax.Array, count: int) -> jax.Array:
    return jnp.broadcast_to(values[:, None], (len(values), count))
