"""Users as least-squares solutions: the encodings of matrix factorisation models.

A user's vector w minimises ``sum_i c_i (w · h_i - 1)² + alpha sum_all (w · h_i)² + ridge |w|²`` for the items i of the
history, their weights c and item vectors h. It is the solution of ``(sum_i c_i h_i h_iᵀ + alpha HᵀH + ridge I) w =
sum_i c_i h_i``, so that a user who was not there in training is answered alike.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from rexjax.embedding import rows
from rexjax.models.recency import Unit, WeightedItems, weigh, weigh_positions
from rexjax.models.scorer import Query, Scorer
from rexjax.models.served import Served


def fold_in_scorer(state: Served, decay: float, recency: Unit, l2: float, exponent: float) -> Scorer:
    """A scorer of item vectors, whose users are solutions.

    Args:
        state: items float32 [N, D] (or quantised); history {"gramian": alpha HᵀH, float32 [D, D], "mass": the weight
            of all unobserved items, alpha N, float32 [1]}.
        decay: see ``rexjax.models.recency.weigh``.
        recency: the same.
        l2: ridge is ``l2 (sum_i c_i + mass) ** exponent``.
        exponent: of the ridge.
    """
    encode, positions, explain = _functions(decay, recency, l2, exponent)
    items = rows.count(state.items)
    return Scorer(state, encode, _score, items, vectors=_items, encode_positions=positions, explain=explain)


def normal_equations(weights: jax.Array, vectors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``sum_i c_i h_i h_iᵀ`` [..., D, D] and ``sum_i c_i h_i`` [..., D] of weights [..., L] and vectors [..., L, D]."""
    weighted = weights[..., None] * vectors
    return jnp.einsum("...ld,...le->...de", weighted, vectors, precision="highest"), weighted.sum(-2)


def solve(normal: jax.Array, ridge: jax.Array, right: jax.Array) -> jax.Array:
    """x [..., D] of ``(normal + ridge I) x = right``, by a Cholesky factorisation in float32.

    Args:
        normal: float32 [..., D, D], symmetric, positive semidefinite.
        ridge: float32 [...], above 0.
        right: float32 [..., D].
    """
    lower = jnp.linalg.cholesky(normal + ridge[..., None, None] * jnp.eye(normal.shape[-1]), symmetrize_input=False)
    return jax.scipy.linalg.cho_solve((lower, True), right[..., None])[..., 0]


@cache  # equal settings share their functions: they are static in jit, and new ones would compile again
def _functions(decay: float, recency: Unit, l2: float, exponent: float) -> tuple[Any, Any, Any]:
    def system(state: Served, weights: jax.Array, vectors: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        normal, right = normal_equations(weights, vectors)
        ridge = l2 * (weights.sum(-1) + state.history["mass"][0]) ** exponent
        return normal + state.history["gramian"], ridge, right

    def read(state: Served, query: Query) -> tuple[WeightedItems, jax.Array]:
        history = weigh(query, decay, recency)
        return history, rows.take(state.items, history.ids)[0]

    def encode(state: Served, query: Query) -> jax.Array:
        history, vectors = read(state, query)
        return solve(*system(state, history.weights, vectors))

    def encode_positions(state: Served, batch: Any) -> jax.Array:
        histories = weigh_positions(batch, decay, recency)
        vectors = rows.take(state.items, jnp.asarray(batch.items))[0]  # the positions of a row share its items

        def position(weights: jax.Array) -> jax.Array:
            return solve(*system(state, weights, vectors))

        return jax.lax.map(position, histories.weights.swapaxes(0, 1)).swapaxes(0, 1)

    def explain(state: Served, query: Query, items: jax.Array) -> jax.Array:
        """The score is ``sum_i c_i h_iᵀ A⁻¹ h_j`` with the inverse A⁻¹ of the user's matrix (Hu et al. 2008, 5)."""
        history, vectors = read(state, query)
        normal, ridge, _ = system(state, history.weights, vectors)
        direction = solve(normal, ridge, rows.take(state.items, items[:, None])[0][:, 0])
        terms = history.weights * jnp.einsum("bld,bd->bl", vectors, direction, precision="highest")
        return jnp.pad(terms, ((0, 0), (0, 1)))

    return encode, encode_positions, explain


def _score(state: Served, users: jax.Array, ids: jax.Array) -> jax.Array:
    return rows.score(users, jax.tree.map(lambda leaf: jnp.asarray(leaf)[ids], state.items))


def _items(state: Served) -> Any:
    return state.items
