"""Elastic nets of many columns at once by coordinate descent, from a Gram matrix."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

BLOCK = 64
"""Coordinates between two products with the whole matrix; the descent is the same for any number."""


def padded(items: int) -> int:
    """The next multiple of ``BLOCK``."""
    return -(-items // BLOCK) * BLOCK


@cache
def descender(mesh: Mesh) -> Any:
    """A compiled function: (gram float32 [V, V], columns int32 [C], W float32 [V, C], l1, l2, tolerance, sweeps) →
    W float32 [V, C] after at most so many sweeps, and bool [C], columns that are not solved yet.

    Column j of W minimises ``½ wᵀ G w - g_jᵀ w + l1 |w|₁ + ½ l2 |w|²`` over ``w ≥ 0`` with ``w_j = 0``. Coordinate i
    of all columns is set to ``max(0, G_ij - sum_(k≠i) G_ik w_k - l1) / (G_ii + l2)``, one i after another. The sums
    are made by a product of ``BLOCK`` rows of G with W, and then corrected by what changed within the block. A column
    stops by itself once a sweep moves none of its weights by more than ``tolerance``, so that its weights do not
    depend on the columns beside it. The columns lie over the mesh, -1 is padding; G lies whole on every device.
    """
    over = PartitionSpec(mesh.axis_names)

    def local(
        gram: jax.Array, columns: jax.Array, start: jax.Array, l1: Any, l2: Any, tolerance: Any, sweeps: Any
    ) -> tuple[jax.Array, jax.Array]:
        targets = gram[:, jnp.maximum(columns, 0)]

        def go_on(carry: Any) -> jax.Array:
            _, active, count = carry
            return active.any() & (count < sweeps)

        def sweep(carry: Any) -> Any:
            weights, active, count = carry

            def step(block: jax.Array, weights: jax.Array) -> jax.Array:
                return _descend(gram, targets, columns, active, l1, l2, block * BLOCK, weights)

            swept = jax.lax.fori_loop(0, len(gram) // BLOCK, step, weights)
            return swept, active & (jnp.abs(swept - weights).max(0) > tolerance), count + 1

        return jax.lax.while_loop(go_on, sweep, (start, columns >= 0, 0))[:2]

    none, wide = PartitionSpec(), PartitionSpec(None, mesh.axis_names)
    specs = none, over, wide, none, none, none, none
    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=(wide, over), check_vma=False))


def _descend(
    gram: jax.Array,
    targets: jax.Array,
    columns: jax.Array,
    active: jax.Array,
    l1: Any,
    l2: Any,
    first: jax.Array,
    weights: jax.Array,
) -> jax.Array:
    """One step along each coordinate of the block that begins at ``first``."""
    rows = jax.lax.dynamic_slice_in_dim(gram, first, BLOCK)
    own = jax.lax.dynamic_slice_in_dim(rows, first, BLOCK, 1)
    before = jax.lax.dynamic_slice_in_dim(weights, first, BLOCK)
    gaps = jax.lax.dynamic_slice_in_dim(targets, first, BLOCK) - jnp.matmul(rows, weights, precision="highest")

    def one(place: jax.Array, changes: jax.Array) -> jax.Array:
        square, old = own[place, place], before[place]
        gap = gaps[place] - jnp.matmul(own[place], changes, precision="highest") + square * old
        best = jnp.maximum(gap - l1, 0) / jnp.where(square > 0, square + l2, 1)  # nobody met the item: the gap is 0
        moves = active & (columns != first + place)
        return changes.at[place].set(jnp.where(moves, best - old, 0))

    changes = jax.lax.fori_loop(0, BLOCK, one, jnp.zeros_like(before))
    return jax.lax.dynamic_update_slice_in_dim(weights, before + changes, first, 0)
