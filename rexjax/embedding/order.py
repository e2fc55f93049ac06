"""The order of a table's rows: physical as they lie on the mesh, logical as ids count them, and as it is saved.

Row r lies on shard r mod S, at place r div S.
"""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

Unpadded = dict[str, jax.Array]
"""A table's array as a checkpoint holds it: V rows in logical order and none of padding.

JAX shards an array only if the devices divide it: the "tail", the last 1 to S rows [T, …], stands apart from the "head"
[V - T, …]; with V <= S there is no head.
"""


def to_logical(array: jax.Array, mesh: Mesh) -> jax.Array:
    """[P, …] in physical order → [P, …] in the order of logical ids, padding rows last."""
    return array.reshape(mesh.size, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def to_physical(array: jax.Array, mesh: Mesh) -> jax.Array:
    """The inverse of ``to_logical``."""
    return array.reshape(-1, mesh.size, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def unpad(array: jax.Array, rows: int, mesh: Mesh) -> Unpadded:
    """[P, …] in physical order → its ``rows`` logical rows."""
    by_shard = array.reshape(mesh.size, -1, *array.shape[1:])
    full = (rows - 1) // mesh.size  # rows of each shard, but for the last
    tail = by_shard[:, full][: rows - full * mesh.size]
    if not full:
        return {"tail": tail}
    return {"head": by_shard[:, :full].swapaxes(0, 1).reshape(-1, *array.shape[1:]), "tail": tail}


def pad(head: jax.Array | None, tail: jax.Array, rows: int, padded: int, mesh: Mesh) -> jax.Array:
    """The inverse of ``unpad`` on any mesh; the head comes with anything behind it, up to the ``padded`` rows P."""
    if head is None:
        head = jnp.zeros((padded, *tail.shape[1:]), tail.dtype)
    row = jnp.arange(padded)
    behind = jnp.take(tail, row - (rows - len(tail)), axis=0, mode="fill", fill_value=0)
    in_head = (row < rows - len(tail)).reshape(-1, *(1,) * (tail.ndim - 1))
    return to_physical(jnp.where(in_head, head, behind), mesh)
