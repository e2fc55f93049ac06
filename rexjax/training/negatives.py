"""Items that a user does not have, drawn evenly on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Owned(NamedTuple):
    """The distinct items of each user, as ``draw_unowned`` reads them."""

    offsets: np.ndarray
    """int32 [U + 1], where each user's items begin."""
    gaps: np.ndarray
    """int32 [E], for the k-th smallest item i of a user, i - k: how many items below i the user does not have."""


def owned(users: np.ndarray, items: np.ndarray, count: int) -> Owned:
    """Sorts distinct pairs.

    Args:
        users: int [E].
        items: int [E].
        count: U.
    """
    order = np.lexsort((items, users))
    offsets = np.searchsorted(users[order], np.arange(count + 1))
    rank = np.arange(len(order)) - offsets[users[order]]
    return Owned(offsets.astype(np.int32), (items[order] - rank).astype(np.int32))


def draw_unowned(key: jax.Array, of_users: Owned, users: jax.Array, negatives: int, items: int) -> jax.Array:
    """Items drawn evenly from those that each user does not have: int32 [P, M].

    A user of n items does not have ``N - n`` of them. The r-th of these, with r drawn evenly, is ``r + k``, where k
    items of the user have a gap of at most r; a binary search finds k. Nothing is drawn twice.

    Args:
        key: of the draws.
        of_users: the users' items.
        users: int32 [P], each of which lacks one item at least.
        negatives: M.
        items: size of the catalogue, N.
    """
    gaps = jnp.asarray(of_users.gaps)
    start, stop = (jnp.asarray(of_users.offsets)[users + shift][:, None] for shift in (0, 1))
    drawn = jax.random.randint(key, (len(users), negatives), 0, items - (stop - start))

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) // 2
        below = (low < high) & (gaps[middle] <= drawn)
        return jnp.where(below, middle + 1, low), jnp.where(below, high, jnp.minimum(middle, high))

    bounds = (jnp.broadcast_to(start, drawn.shape), jnp.broadcast_to(stop, drawn.shape))
    low, _ = jax.lax.fori_loop(0, items.bit_length(), halve, bounds)
    return drawn + low - start
