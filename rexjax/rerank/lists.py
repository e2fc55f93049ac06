"""Lists of many users, chosen from a model's candidates."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError
from rexjax.rerank.settings import Candidates, Rerank

_USERS = 256


class Catalogue(NamedTuple):
    """What re-ranking knows of the items."""

    vectors: np.ndarray
    """float32 [N, W], unit vectors of the content, zeros where an item has none; W may be 0."""
    shares: np.ndarray
    """float32 [N, G], how much of an item is of each category: sums to 1, or to 0; G may be 0."""
    categories: tuple[str, ...] = ()
    """Names of the G categories."""


def catalogue(
    vectors: np.ndarray | None, categories: Sequence[str] | None, items: int, separator: str = ""
) -> Catalogue:
    """What re-ranking knows of N items.

    Args:
        vectors: float32 [N, W], of any length; None: there are none.
        categories: of each item, '' where it has none; None: there are none.
        items: N.
        separator: between the categories of one item; '': each item has one.

    >>> catalogue(None, ["a|b", "b", ""], 3, "|").shares.tolist()
    [[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]]
    """
    named = [_split(str(category or ""), separator) for category in categories or [""] * items]
    names = sorted({name for parts in named for name in parts})
    number, shares = {name: at for at, name in enumerate(names)}, np.zeros((items, len(names)), np.float32)
    for item, parts in enumerate(named):
        for name in parts:
            shares[item, number[name]] = 1 / len(parts)
    rows = np.zeros((items, 0), np.float32) if vectors is None else np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return Catalogue(rows / np.where(lengths > 0, lengths, 1), shares, tuple(names))


def _split(text: str, separator: str) -> list[str]:
    parts = text.split(separator) if separator else [text]
    return [part for part in dict.fromkeys(parts) if part]


def check(rerank: Rerank, known: Catalogue, k: int) -> None:
    """Raises UserError where the items lack what ``rerank`` reads, or its candidates are fewer than k."""
    if 0 < rerank.candidates < k:
        raise UserError(f"rerank.candidates is {rerank.candidates}, and lists have {k} items: raise it to {k} or more")
    if rerank.needs and not getattr(known, rerank.needs).shape[1]:
        brings = {"vectors": "text in --data.text", "shares": "a category in --data.columns.category"}[rerank.needs]
        raise UserError(f"rerank is {type(rerank).__name__}, which needs the items' {rerank.needs}: name {brings}")


def rerank_lists(
    rerank: Rerank,
    known: Catalogue,
    histories: np.ndarray,
    scores: np.ndarray,
    ids: np.ndarray,
    k: int,
    strength: float,
) -> np.ndarray:
    """The lists that ``rerank`` chooses, in batches of one shape.

    Args:
        rerank: the method.
        known: the items.
        histories: int32 [U, L], padded with -1.
        scores: float32 [U, C], falling; of any range; -inf where there is no candidate.
        ids: int32 [U, C].
        k: at most C.
        strength: from 0 to 1.

    Returns:
        Places int32 [U, k] among the candidates, the best first, -1 where none is left.

    >>> items = catalogue(None, ["a", "a", "b"], 3)
    >>> scores, ids = np.asarray([[3.0, 2.0, 1.0]], np.float32), np.asarray([[0, 1, 2]])
    >>> from rexjax.rerank.settings import Quota
    >>> rerank_lists(Quota(), items, np.asarray([[0]]), scores, ids, 2, 1.0).tolist()
    [[0, 2]]
    """
    users, batch = len(ids), len(ids) if rerank.together else _USERS
    vectors, shares = jnp.asarray(known.vectors), jnp.asarray(known.shares)
    chosen = []
    for start in range(0, users, batch):
        rows = np.minimum(np.arange(start, start + batch), users - 1)
        part = (jnp.asarray(array[rows]) for array in (histories, scores, ids))
        chosen.append(_choose(rerank, k, vectors, shares, *part, jnp.float32(strength)))
    return np.concatenate([np.empty((0, k), np.int32), *map(np.asarray, chosen)])[:users]


@partial(jax.jit, static_argnums=(0, 1))
def _choose(
    rerank: Rerank,
    k: int,
    vectors: jax.Array,
    shares: jax.Array,
    histories: jax.Array,
    scores: jax.Array,
    ids: jax.Array,
    strength: jax.Array,
) -> jax.Array:
    total = vectors.shape[0]
    own = _mean(shares, histories)
    strength = jnp.broadcast_to(strength, ids.shape[:1])
    if rerank.personal:
        strength = strength * (_entropy(own) if rerank.needs == "shares" else _distance(vectors, histories))
    there = (ids >= 0) & (scores > -jnp.inf)
    at = jnp.where(there, ids, 0)
    unit = unit_range(jnp.where(there, scores, -jnp.inf))
    read = vectors if rerank.needs == "vectors" else vectors[:, :0]
    found = Candidates(unit, jnp.where(there, ids, -1), read[at], shares[at], own, total)
    places = rerank.choose(found, k, strength)
    chosen = jnp.take_along_axis(there, jnp.maximum(places, 0), 1)
    return jnp.where((places >= 0) & chosen, places, -1)


def unit_range(scores: jax.Array) -> jax.Array:
    """Scores [B, C] of each list from 0, its worst candidate, to 1, its best; -inf stays.

    >>> unit_range(jnp.asarray([[4.0, 3.0, 2.0, -jnp.inf]])).tolist()
    [[1.0, 0.5, 0.0, -inf]]
    """
    there = scores > -jnp.inf
    best = jnp.where(there, scores, -jnp.inf).max(1, keepdims=True)
    worst = jnp.where(there, scores, jnp.inf).min(1, keepdims=True)
    span = jnp.where(best > worst, best - worst, 1)
    return jnp.where(there, (scores - worst) / span, -jnp.inf)


def _mean(values: jax.Array, histories: jax.Array) -> jax.Array:
    """Means float32 [B, G] over those items of the histories that have any share, so that they sum to 1 or 0."""
    read = values[jnp.maximum(histories, 0)] * (histories >= 0)[..., None]
    total = read.sum(1)
    return total / jnp.maximum(total.sum(1, keepdims=True), 1e-9)


def _entropy(own: jax.Array) -> jax.Array:
    """[B], of the categories, over the largest that G categories can have."""
    bits = -(own * jnp.log(jnp.where(own > 0, own, 1))).sum(1)
    return bits / jnp.log(jnp.maximum(own.shape[1], 2))


def _distance(vectors: jax.Array, histories: jax.Array) -> jax.Array:
    """[B], the mean cosine distance of two events of the history, from 0 to 1."""
    read = vectors[jnp.maximum(histories, 0)] * (histories >= 0)[..., None]
    events = (histories >= 0).sum(1)
    cosines = (read.sum(1) ** 2).sum(1) - (read**2).sum((1, 2))
    return jnp.clip(1 - cosines / jnp.maximum(events * (events - 1), 1), 0, 1) * (events > 1)
