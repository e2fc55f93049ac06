"""FTRL-Proximal (McMahan et al. 2013), the rule of a sparse linear part: L1 keeps weights of rare values at zero."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from rexjax.embedding.optimizers import RowOptimizer, Slots


def ftrl_step(
    weights: jax.Array,
    gradients: jax.Array,
    sums: jax.Array,
    squares: jax.Array,
    *,
    rate: jax.Array | float,
    beta: float,
    l1: float,
    l2: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One update by the paper's Algorithm 1: new weights, sums z and squares n, in the shapes that are given.

    A weight whose gradient is zero stays as its sums say it is, so that an update of some rows is one of all rows.

    Args:
        weights: float32 [...], those that the gradients were taken at.
        gradients: float32 [...].
        sums: float32 [...], z.
        squares: float32 [...], n.
        rate: alpha.
        beta: added to the root of the squares.
        l1: a weight is zero until the sum of its gradients exceeds it.
        l2: ridge.

    >>> import jax.numpy as jnp
    >>> zeros = jnp.zeros(2)
    >>> moved = ftrl_step(zeros, jnp.asarray([2.0, 0.5]), zeros, zeros, rate=0.5, beta=1.0, l1=1.0, l2=0.0)
    >>> moved[0].round(4).tolist()  # -(2 - 1) / ((1 + 2) / 0.5), and 0 where |z| <= l1
    [-0.1667, 0.0]
    """
    total = squares + gradients**2
    sigma = (jnp.sqrt(total) - jnp.sqrt(squares)) / rate
    sums = sums + gradients - sigma * weights
    shrunk = jnp.sign(sums) * jnp.maximum(jnp.abs(sums) - l1, 0)
    return -shrunk / ((beta + jnp.sqrt(total)) / rate + l2), sums, total


@dataclass(frozen=True)
class Ftrl(RowOptimizer):
    """FTRL-Proximal for rows of a table. Rows start at zero, whatever the table's initialiser is: see ``zeros``."""

    beta: float = 1.0
    """Added to the root of the sum of squared gradients."""
    l1: float = 0.0
    """A weight stays zero until the sum of its gradients exceeds it."""
    l2: float = 0.0
    """Ridge."""

    def slots(self, rows: int, width: int) -> Slots:
        """``sums`` and ``squares``, both [V, D]."""
        zeros = jnp.zeros((rows, width), jnp.float32)
        return {"sums": zeros, "squares": zeros}

    def apply(self, rows: jax.Array, gradients: jax.Array, slots: Slots, step: jax.Array) -> tuple[jax.Array, Slots]:
        """See the class."""
        settings = {"rate": self.rate(step), "beta": self.beta, "l1": self.l1, "l2": self.l2}
        rows, sums, squares = ftrl_step(rows, gradients, slots["sums"], slots["squares"], **settings)
        return rows, {"sums": sums, "squares": squares}


def zeros(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The initialiser of a table of FTRL: float32 zeros."""
    return jnp.zeros(shape, jnp.float32)
