"""FTRL-Proximal as a transformation of optax, for the dense parameters of a linear part."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rexjax.embedding.ftrl import ftrl_step


class FtrlState(NamedTuple):
    """Two arrays a parameter."""

    sums: Any
    """z of the paper."""
    squares: Any
    """n of the paper: sums of squared gradients."""


def ftrl(learning_rate: float, l1: float = 0.0, l2: float = 0.0, beta: float = 1.0) -> optax.GradientTransformation:
    """FTRL-Proximal (McMahan et al. 2013), per coordinate. Parameters should start at zero.

    Args:
        learning_rate: alpha.
        l1: a weight is zero until the sum of its gradients exceeds it.
        l2: ridge.
        beta: added to the root of the sum of squared gradients.

    Raises:
        ValueError: ``update`` without parameters.

    >>> import jax.numpy as jnp, optax
    >>> rule = ftrl(0.5, l1=1.0)
    >>> weights = jnp.zeros(2)
    >>> moves, state = rule.update(jnp.asarray([2.0, 0.5]), rule.init(weights), weights)
    >>> optax.apply_updates(weights, moves).round(4).tolist()
    [-0.1667, 0.0]
    """

    def init(params: Any) -> FtrlState:
        return FtrlState(jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))

    def update(gradients: Any, state: FtrlState, params: Any = None) -> tuple[Any, FtrlState]:
        if params is None:
            raise ValueError("params is None: ftrl sets weights, so that it needs them")

        def moved(weights, gradient, sums, squares):
            new, *slots = ftrl_step(weights, gradient, sums, squares, rate=learning_rate, beta=beta, l1=l1, l2=l2)
            return new - weights, *slots

        found = jax.tree.map(moved, params, gradients, state.sums, state.squares)
        moves, sums, squares = jax.tree.transpose(jax.tree.structure(params), jax.tree.structure((0, 0, 0)), found)
        return moves, FtrlState(sums, squares)

    return optax.GradientTransformation(init, update)
