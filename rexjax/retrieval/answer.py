"""A whole request as one pure function: encode the history, score the items, take the best."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rexjax.models.scorer import Scorer, ask
from rexjax.retrieval.topk import top_k

_SCORES = 1 << 24
"""Scores at a time, of models that are scored item by item: 64 MB."""


def answer(scorer: Scorer, k: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """(state, histories int32 [B, L'], exclude int32 [B, S] padded with -1, times int32 [B, L' + 1] or None, features
    by name or None) → scores float32 [B, k], falling, and ids int32 [B, k]. Where fewer than k items are left, the
    score is -inf.

    Args:
        scorer: any model; its state is not used.
        k: at most N.
    """

    def request(
        state: Any,
        histories: jax.Array,
        exclude: jax.Array,
        times: jax.Array | None = None,
        features: Mapping[str, jax.Array] | None = None,
    ) -> Any:
        encoded = scorer.encode(state, ask(scorer, histories, times, features))
        if scorer.vectors:
            return top_k(encoded, scorer.vectors(state), k, exclude=exclude)
        return top_k_of_scores(scorer, state, encoded, k, exclude)

    return request


def top_k_of_scores(
    scorer: Scorer, state: Any, encoded: Any, k: int, exclude: jax.Array, chunk: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """The k best items of any model, exact; the catalogue is scored chunk by chunk.

    Args:
        scorer: the model.
        state: its arrays.
        encoded: requests, a pytree with leading B.
        k: at most N.
        exclude: int32 [B, S] items that may not be answered, padded with -1.
        chunk: items at a time; by default 16 million scores.

    Returns:
        scores float32 [B, k] and ids int32 [B, k]; equal scores come in the order of ids.

    >>> from rexjax.models.scorer import dot_product
    >>> scorer = dot_product(lambda histories: jnp.ones((1, 1)), jnp.asarray([[1.0], [3.0], [2.0]]))
    >>> scores, ids = top_k_of_scores(scorer, scorer.state, jnp.ones((1, 1)), 2, jnp.asarray([[1]]))
    >>> ids.tolist(), scores.tolist()
    ([[2, 0]], [[2.0, 1.0]])
    """
    users, total = exclude.shape[0], scorer.items
    size = min(chunk or max(_SCORES // (users if isinstance(users, int) else 1), k), total)

    def best_of(start: jax.Array | int) -> tuple[jax.Array, jax.Array]:
        ids = start + jnp.arange(size)
        scores = scorer.score(state, encoded, jnp.minimum(ids, total - 1))
        scores = jnp.where(ids < total, scores, -jnp.inf)
        at = jnp.where(exclude >= start, exclude - start, size)
        scores = scores.at[jnp.arange(users)[:, None], at].set(-jnp.inf, mode="drop")
        best, places = jax.lax.top_k(scores, min(k, size))
        return best, (start + places).astype(jnp.int32)

    if size == total:
        return best_of(0)
    best, ids = jax.lax.map(best_of, jnp.arange(0, total, size))  # [chunks, B, k]
    best, ids = (jnp.moveaxis(part, 0, 1).reshape(users, -1) for part in (best, ids))
    found, at = jax.lax.top_k(best, k)
    return found, jnp.take_along_axis(ids, at, 1)
