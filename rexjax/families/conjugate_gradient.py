"""Linear systems of many rows at a time, by preconditioned conjugate gradients."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

TOLERANCE = 1e-3
"""Largest relative error of a solution, in the norm of its preconditioner."""


class _State(NamedTuple):
    solution: jax.Array
    residual: jax.Array
    direction: jax.Array
    error: jax.Array
    """float32 [G], the squared residual, over the preconditioner."""
    unsolved: jax.Array
    """bool [G]"""
    step: jax.Array


def solve(normal: Callable[[jax.Array, jax.Array], jax.Array], diagonal: jax.Array, start: jax.Array) -> jax.Array:
    """x [G, D] of ``(sum_i c_i h_i h_iᵀ + diag(m)) x = sum_i c_i h_i``, row by row (Takács et al. 2011).

    The diagonal is the preconditioner M. The matrix A is M plus a positive semidefinite matrix, so that the error e of
    x has ``eᵀ M e ≤ eᵀ A e = rᵀ A⁻¹ r ≤ rᵀ M⁻¹ r`` with the residual r. A row is done where the last of these is at
    most ``TOLERANCE² xᵀ M x``, or after 2 D steps; a row that is done no longer moves, whatever rows lie beside it.

    Args:
        normal: (p float32 [G, D], t bool []) → ``sum_i c_i h_i (t - h_i · p)`` float32 [G, D].
        diagonal: m, float32 [G, D], above 0.
        start: float32 [G, D], the nearer to x the fewer steps; 0 where x is.
    """

    def go_on(state: _State) -> jax.Array:
        return state.unsolved.any() & (state.step <= 2 * start.shape[1])

    def advance(state: _State) -> _State:
        return _advance(state, normal(state.direction, state.step == 0), diagonal)

    zeros = 0 * start  # not a constant: it varies over the mesh as ``start`` does
    first = _State(zeros, zeros, start, zeros[:, 0], zeros[:, 0] == 0, jnp.int32(0))
    return jax.lax.while_loop(go_on, advance, first).solution


def _advance(state: _State, product: jax.Array, diagonal: jax.Array) -> _State:
    """One step along the direction p. The first goes from 0 to p whole, and leaves the residual of p."""
    change, usual = product - diagonal * state.direction, state.unsolved & (state.step > 0)
    curvature = jnp.where(usual, -_dot(state.direction, change), 1)
    length = jnp.where(usual, state.error / curvature, state.step == 0)[:, None]
    solution, residual = state.solution + length * state.direction, state.residual + length * change
    scaled = residual / diagonal
    error = _dot(residual, scaled)
    kept = jnp.where(usual, error / jnp.where(usual, state.error, 1), 0)[:, None]
    unsolved = state.unsolved & (error > TOLERANCE**2 * _dot(solution, diagonal * solution))
    return _State(solution, residual, scaled + kept * state.direction, error, unsolved, state.step + 1)


def _dot(left: jax.Array, right: jax.Array) -> jax.Array:
    return (left * right).sum(1)
