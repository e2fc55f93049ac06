"""Scores that are sums of item-item weights over the items of a history: ``score(b, j) = sum_i w(b, i) W[i, j]``.

W is a matrix, or the few largest entries of each of its rows. A request reads only the rows of its own items.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from rexjax.models.recency import Unit, WeightedItems, encoders
from rexjax.models.scorer import Query, Scorer


def matrix_scorer(state: dict[str, Any], decay: float, recency: Unit) -> Scorer:
    """A scorer of ``{"weights": float32 [V, N]}``; V is N or more, the rows beyond N are padding."""
    encode, positions = encoders(decay, recency)
    items = state["weights"].shape[1]
    explain = _explainer(encode, _matrix_entries)
    return Scorer(
        state,
        encode,
        score_matrix,
        items,
        encode_positions=positions,
        score_positions=score_matrix_positions,
        explain=explain,
    )


def neighbour_scorer(state: dict[str, Any], decay: float, recency: Unit) -> Scorer:
    """A scorer of ``{"ids": int32 [N, K], "weights": float32 [N, K]}``: column and value of K entries of each row.

    Rows with fewer entries end with id -1 and weight 0.
    """
    encode, positions = encoders(decay, recency)
    explain = _explainer(encode, _neighbour_entries)
    return Scorer(state, encode, score_neighbours, len(state["ids"]), encode_positions=positions, explain=explain)


def score_matrix(state: dict[str, Any], history: WeightedItems, ids: jax.Array) -> jax.Array:
    """float32 [B, C]; few events read rows of the matrix, many are one product with it."""
    matrix, (users, length) = state["weights"], history.ids.shape
    read = jnp.maximum(history.ids, 0)
    if isinstance(users, int) and users * length < matrix.shape[1]:  # an exported program leaves B open
        rows = jnp.asarray(matrix)[read]
        return jnp.einsum("bl,bln->bn", history.weights, rows, precision="highest")[:, ids]
    dense = jnp.zeros((users, len(matrix))).at[jnp.arange(users)[:, None], read].add(history.weights)
    return jnp.matmul(dense, jnp.asarray(matrix)[:, ids], precision="highest")


def score_matrix_positions(state: dict[str, Any], histories: WeightedItems, ids: jax.Array) -> jax.Array:
    """float32 [B, L, C] of histories [B, L, L], in O(B L L C).

    The positions of a packed row share its items, so each item's row of the matrix is read once.
    """
    row = jnp.maximum(histories.ids.max(1), 0)  # -1 where a position does not know an event
    read = jnp.asarray(state["weights"])[row][..., ids]
    return jnp.einsum("bpl,bln->bpn", histories.weights, read, precision="highest")


def score_neighbours(state: dict[str, Any], history: WeightedItems, ids: jax.Array) -> jax.Array:
    """float32 [B, C], in O(B L K + N + B C)."""
    users, columns = history.ids.shape[0], len(ids)
    # the column of each item; an id listed twice has one column for both, items not listed have one that is dropped
    column = jnp.full(len(state["ids"]), columns).at[ids].set(jnp.arange(columns))
    read = jnp.maximum(history.ids, 0)
    targets = column[jnp.asarray(state["ids"])[read]].reshape(users, -1)  # id -1 reads any column: its weight is 0
    parts = (history.weights[:, :, None] * jnp.asarray(state["weights"])[read]).reshape(users, -1)
    scores = jnp.zeros((users, columns)).at[jnp.arange(users)[:, None], targets].add(parts, mode="drop")
    return scores[:, column[ids]]


def _matrix_entries(state: dict[str, Any], rows: jax.Array, columns: jax.Array) -> jax.Array:
    return jnp.asarray(state["weights"])[rows, columns]


def _neighbour_entries(state: dict[str, Any], rows: jax.Array, columns: jax.Array) -> jax.Array:
    found = jnp.asarray(state["ids"])[rows] == columns[..., None]
    return jnp.where(found, jnp.asarray(state["weights"])[rows], 0).sum(-1)


@cache
def _explainer(encode: Any, entries: Any) -> Any:
    """``Scorer.explain``: the terms of the sum; nothing is left for the rest."""

    def explain(state: dict[str, Any], query: Query, items: jax.Array) -> jax.Array:
        history = encode(state, query)
        terms = history.weights * entries(state, jnp.maximum(history.ids, 0), items[:, None])
        return jnp.pad(terms, ((0, 0), (0, 1)))

    return explain
