"""Least-squares solutions of many rows at a time, by conjugate gradients."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

TOLERANCE = 1e-3
"""Largest relative error of a solution, in the norm of its preconditioner."""


class Entries(NamedTuple):
    """Entries of G rows, P of each."""

    ids: jax.Array
    """int32 [G, P], the place of each entry's column among the vectors of the other side; 0 at padding."""
    weights: jax.Array
    """float32 [G, P], 0 at padding."""


class _State(NamedTuple):
    solution: jax.Array
    residual: jax.Array
    direction: jax.Array
    error: jax.Array
    """float32 [G], the squared residual, over the preconditioner."""
    unsolved: jax.Array
    """bool [G]"""
    step: jax.Array


def solve(entries: Entries, vectors: jax.Array, diagonal: jax.Array, start: jax.Array, piece: int) -> jax.Array:
    """x [G, D] of ``(sum_i c_i h_i h_iᵀ + diag(m)) x = sum_i c_i h_i``, row by row (Takács et al. 2011).

    The diagonal is the preconditioner M. The matrix A is M plus what is positive semidefinite, so that the error e of
    x has ``eᵀ M e ≤ eᵀ A e = rᵀ A⁻¹ r ≤ rᵀ M⁻¹ r`` with the residual r. A row is done where the last of these is at
    most ``TOLERANCE² xᵀ M x``, or after 2 D steps; a row that is done no longer moves, whatever rows lie beside it.

    Args:
        entries: ids and weights c [G, P] of the vectors h.
        vectors: float32 [S, D].
        diagonal: m, float32 [G, D], above 0.
        start: float32 [G, D], the nearer to x the fewer steps.
        piece: entries of a row that are read at a time; it divides P.
    """
    normal = _normal_equations(entries, vectors, piece)

    def go_on(state: _State) -> jax.Array:
        return state.unsolved.any() & (state.step <= 2 * vectors.shape[1])

    def advance(state: _State) -> _State:
        return _advance(state, normal(state.direction, state.step == 0), diagonal)

    start = jnp.where(entries.weights.any(1, keepdims=True), start, 0)
    zeros = 0 * start  # not a constant: it varies over the mesh as ``start`` does
    first = _State(zeros, zeros, start, zeros[:, 0], zeros[:, 0] == 0, jnp.int32(0))
    return jax.lax.while_loop(go_on, advance, first).solution


def _advance(state: _State, product: jax.Array, diagonal: jax.Array) -> _State:
    """One step along a direction p, where ``product`` is -A p; the first goes the whole way from 0 to p, and there it
    is ``sum_i c_i h_i - A p``, the residual."""
    first, change, moves = state.step == 0, product - diagonal * state.direction, state.unsolved
    curvature = jnp.where(moves & ~first, -_dot(state.direction, change), 1)
    length = jnp.where(first, 1, jnp.where(moves, state.error / curvature, 0))[:, None]
    solution, residual = state.solution + length * state.direction, state.residual + length * change
    scaled = residual / diagonal
    error = _dot(residual, scaled)
    kept = jnp.where(moves & ~first, error / jnp.where(moves & ~first, state.error, 1), 0)[:, None]
    unsolved = moves & (error > TOLERANCE**2 * _dot(solution, diagonal * solution))
    return _State(solution, residual, scaled + kept * state.direction, error, unsolved, state.step + 1)


def _dot(left: jax.Array, right: jax.Array) -> jax.Array:
    return (left * right).sum(1)


def _normal_equations(entries: Entries, vectors: jax.Array, piece: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A function (p [G, D], whether the targets are 1, else 0) → ``sum_i c_i h_i (target - h_i · p)`` [G, D].

    Rows of one piece read their vectors once; of several, piece by piece at each step, in less memory.
    """

    def part(weights: jax.Array, rows: jax.Array, direction: jax.Array, target: jax.Array) -> jax.Array:
        errors = target - jnp.einsum("gpd,gd->gp", rows, direction, precision="highest")
        return jnp.einsum("gpd,gp->gd", rows, weights * errors, precision="highest")

    if entries.ids.shape[1] == piece:
        rows = vectors.at[entries.ids].get(mode="clip")
        return lambda direction, target: part(entries.weights, rows, direction, target)
    pieces = jax.tree.map(lambda leaf: leaf.reshape(len(leaf), -1, piece).swapaxes(0, 1), entries)

    def whole(direction: jax.Array, target: jax.Array) -> jax.Array:
        def add(total: jax.Array, read: Entries) -> tuple[jax.Array, None]:
            return total + part(read.weights, vectors.at[read.ids].get(mode="clip"), direction, target), None

        return jax.lax.scan(add, 0 * direction, pieces)[0]

    return whole
