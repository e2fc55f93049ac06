"""Lists within limits: places of a category or provider, and appearances of an item in all lists."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError
from rexjax.rerank.greedy import check_candidates, choose, concrete, take
from rexjax.runtime.arguments import check_id_range, check_integers, check_shape


def quota(
    scores: jax.Array,
    categories: jax.Array,
    k: int,
    strength: jax.Array | float,
    *,
    groups: int,
    least: jax.Array | None = None,
) -> jax.Array:
    """The best list in which no category has more than its places, and some have at least theirs.

    A category may take ``ceil(k - strength (k - 1))`` of the k places: all of them at 0, one of them at 1. Categories
    may be providers, brands or any other partition of the items.

    Args:
        scores: float32 [B, C]; -inf where there is no candidate.
        categories: int32 [B, C], from 0 to G - 1; -1: none, and no limit.
        k: at most C.
        strength: float32 [] or [B], from 0 to 1.
        groups: G.
        least: int32 [G], places of each category at least, of those that its candidates can fill; None: 0.

    Returns:
        int32 [B, k], places among the candidates, in order; -1 where no candidate may be taken. Ties go to the smaller
        place.

    Raises:
        TypeError: scores are no floats or categories no integers.
        ValueError: k is not from 1 to C, shapes do not fit, or categories are beyond G.
        UserError: the least places are more than k.

    >>> import jax.numpy as jnp
    >>> scores, categories = jnp.asarray([[1.0, 0.9, 0.5]]), jnp.asarray([[0, 0, 1]])
    >>> quota(scores, categories, 2, 1.0, groups=2).tolist()
    [[0, 2]]
    >>> quota(scores, categories, 2, 0.0, groups=2, least=jnp.asarray([0, 1])).tolist()
    [[0, 2]]
    """
    check_candidates(scores, k, strength)
    _check_ids("categories", categories, scores, groups)
    least = jnp.zeros(groups, jnp.int32) if least is None else jnp.asarray(least, jnp.int32)
    check_shape("least", least, (groups,), "groups")
    wanted = concrete(least)
    if wanted is not None and wanted.sum() > k:
        raise UserError(f"the quotas ask for {wanted.sum()} places of {k}: lower them, or raise k")
    return _quota(scores, categories, jnp.asarray(strength, jnp.float32), least, k)


@partial(jax.jit, static_argnums=4)
def _quota(scores: jax.Array, categories: jax.Array, strength: jax.Array, least: jax.Array, k: int) -> jax.Array:
    users, groups = scores.shape[0], least.shape[0]
    of = jnp.where(categories >= 0, categories, groups)  # the last one is without limits
    lists = jnp.arange(users)[:, None]
    most = jnp.ceil(k - strength * (k - 1) - 1e-4).astype(jnp.int32).reshape(-1, 1)
    most = jnp.concatenate([jnp.broadcast_to(most, (users, groups)), jnp.full((users, 1), k)], 1)
    there = jnp.zeros((users, groups + 1), jnp.int32).at[lists, of].add((scores > -jnp.inf).astype(jnp.int32))
    needed = jnp.minimum(jnp.minimum(jnp.append(least, 0), there), most)

    def value(counts: jax.Array, place: jax.Array) -> jax.Array:
        open_places = jnp.maximum(needed - counts, 0)
        forced = open_places.sum(1, keepdims=True) >= k - place
        allowed = (counts < most) & (~forced | (open_places > 0))
        return jnp.where(jnp.take_along_axis(allowed, of, 1), scores, -jnp.inf)

    def update(counts: jax.Array, taken: jax.Array, place: jax.Array) -> jax.Array:
        return counts.at[lists[:, 0], take(of, taken)].add(1)

    return choose(scores, k, value, update, jnp.zeros((users, groups + 1), jnp.int32))


def check_quota(least: np.ndarray, available: np.ndarray, names: list[str]) -> None:
    """Raises UserError where a category has fewer items than the quota asks for.

    Args:
        least: int [G].
        available: int [G], items of each category in the catalogue.
        names: of the categories.

    >>> check_quota(np.asarray([1]), np.asarray([3]), ["lamps"])
    """
    short = np.flatnonzero(np.asarray(least) > available)
    if len(short):
        first = short[0]
        raise UserError(
            f"the quota asks for {least[first]} items of {names[first]}, and the catalogue has {available[first]}: "
            "lower the quota"
        )


def capped(scores: jax.Array, items: jax.Array, k: int, strength: jax.Array | float, *, total: int) -> jax.Array:
    """The best lists in which no item appears more often than its cap, user after user.

    With B lists and N items, an item may be in ``ceil(B (k / N) ** strength)`` lists: in all of them at 0, in its even
    share at 1. Users who come first choose first.

    Args:
        scores: float32 [B, C]; -inf where there is no candidate.
        items: int32 [B, C], the candidates' ids, each once in a list; -1 where there is none.
        k: at most C.
        strength: float32 [], from 0 to 1.
        total: N.

    Returns:
        int32 [B, k], places among the candidates, in order; -1 where no candidate is left. Ties go to the smaller
        place.

    Raises:
        TypeError: scores are no floats or items no integers.
        ValueError: k is not from 1 to C, shapes do not fit, or items are beyond N.

    >>> import jax.numpy as jnp
    >>> scores, items = jnp.asarray([[1.0, 0.9], [1.0, 0.9]]), jnp.asarray([[0, 1], [0, 1]])
    >>> capped(scores, items, 1, 1.0, total=2).tolist()
    [[0], [1]]
    """
    check_candidates(scores, k, strength)
    _check_ids("items", items, scores, total)
    return _capped(scores, items, jnp.asarray(strength, jnp.float32), k, total)


@partial(jax.jit, static_argnums=(3, 4))
def _capped(scores: jax.Array, items: jax.Array, strength: jax.Array, k: int, total: int) -> jax.Array:
    users = scores.shape[0]
    cap = jnp.ceil(users * jnp.minimum(k / total, 1.0) ** strength - 1e-3).astype(jnp.int32)

    def serve(counts: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        scores, items = row
        left = jnp.where(counts[items] < cap, scores, -jnp.inf)
        best, at = jax.lax.top_k(left, k)
        there = best > -jnp.inf
        return counts.at[jnp.where(there, items[at], total)].add(1, mode="drop"), jnp.where(there, at, -1)

    return jax.lax.scan(serve, jnp.zeros(total, jnp.int32), (scores, items))[1]


def _check_ids(name: str, ids: jax.Array, scores: jax.Array, count: int) -> None:
    check_integers(name, ids)
    check_shape(name, ids, scores.shape, "scores")
    check_id_range(name, ids, count)
