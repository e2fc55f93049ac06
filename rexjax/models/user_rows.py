"""Models with a row for each user of the log: what they read of a request is the user's id."""

from typing import Any

import jax
import jax.numpy as jnp

from rexjax.models.scorer import USER, Query, Scorer


def users_of(query: Query) -> jax.Array:
    """The users of a query: int32 [B], -1 where they are not known."""
    return query.features.get(USER, jnp.full(query.histories.shape[0], -1, jnp.int32))


def users_of_batch(batch: Any) -> jax.Array:
    """The users of packed rows, ``rexjax.data.batches.Batch``: int32 [B, L], -1 where they are not known."""
    return jnp.full(batch.items.shape, -1, jnp.int32) if batch.users is None else jnp.asarray(batch.users)


def take_users(rows: jax.Array, unknown: jax.Array, users: jax.Array) -> jax.Array:
    """Rows [U, ...] of users int32 [...], and ``unknown`` for users of -1."""
    found = jnp.asarray(rows)[jnp.maximum(users, 0)]
    return jnp.where((users >= 0).reshape(users.shape + (1,) * (found.ndim - users.ndim)), found, unknown)


def user_row_scorer(state: dict[str, Any]) -> Scorer:
    """A scorer of dot products of users' and items' rows.

    Args:
        state: "users" float32 [U, D], "items" float32 [N, D], "unknown" float32 [D], the row of user -1.
    """
    return Scorer(
        state,
        _encode,
        _score,
        len(state["items"]),
        vectors=_items,
        encode_positions=_encode_positions,
        reads=(USER,),
    )


def _encode(state: dict[str, Any], query: Query) -> jax.Array:
    return take_users(state["users"], state["unknown"], users_of(query))


def _encode_positions(state: dict[str, Any], batch: Any) -> jax.Array:
    return take_users(state["users"], state["unknown"], users_of_batch(batch))


def _score(state: dict[str, Any], encoded: jax.Array, ids: jax.Array) -> jax.Array:
    return jnp.einsum("bd,nd->bn", encoded, jnp.asarray(state["items"])[ids], precision="highest")


def _items(state: dict[str, Any]) -> jax.Array:
    return state["items"]
