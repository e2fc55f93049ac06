"""The inverse of a Gram matrix after some rows of its factor have changed (Woodbury 1950)."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.sharding import Mesh

from rexjax.runtime.mesh import sharding

WORTH = 8
"""An update is made where the changed rows, times this, are at most the size of the matrix; else it is inverted."""


@cache
def updater(mesh: Mesh):
    """A compiled function: (P [V, N], X [K, N], D [K, N]) → the inverse of ``P⁻¹ + (X + D)ᵀ(X + D) - XᵀX``.

    P, float32 with rows over the mesh, is donated; its rows beyond N are zeros. With U = [X; D] the change is UᵀMU for
    ``M = [[0, I], [I, I]]``, so that the new inverse is ``P - PUᵀ (M⁻¹ + UPUᵀ)⁻¹ UP``. This M keeps the inner matrix
    well conditioned, whereas adding X + D and subtracting X loses digits if a row alone determines an item.
    """

    def update(precision: jax.Array, rows: jax.Array, changes: jax.Array) -> jax.Array:
        count, items = rows.shape
        both = jnp.concatenate([rows, changes])
        products = jnp.matmul(precision, both.T, precision="highest")
        eye = jnp.eye(count)
        middle = jnp.block([[-eye, eye], [eye, jnp.zeros((count, count))]])
        inner = middle + jnp.matmul(both, products[:items], precision="highest")
        # symmetric, so that rounding does not grow from one update to the next
        inner = (inner + inner.T) / 2
        return precision - jnp.matmul(products, jnp.linalg.solve(inner, products[:items].T), precision="highest")

    return jax.jit(update, donate_argnums=0, out_shardings=sharding(mesh, "rows"))


def dense_rows(matrix: sp.csr_array, items: int) -> np.ndarray:
    """float32 [K', N], with rows of zeros up to a power of two: few shapes are compiled."""
    rows = np.zeros((max(16, 1 << (matrix.shape[0] - 1).bit_length()), items), np.float32)
    rows[: matrix.shape[0], : matrix.shape[1]] = matrix.toarray()
    return rows
