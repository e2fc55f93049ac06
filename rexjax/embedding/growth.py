"""A table that gets more rows: no row moves to another device.

Row r lies on shard r mod S at place r div S, whatever the number of rows. So each device lengthens its own part, and
nothing travels.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from rexjax.embedding import table as tables
from rexjax.embedding.table import Table, TableState
from rexjax.errors import UserError


def grow(state: TableState, table: Table, rows: int, key: jax.Array, mesh: Mesh) -> TableState:
    """The state of the same table with ``rows`` rows, the first V of which and their slots are those of ``state``.

    Args:
        state: of ``table`` on ``mesh``.
        table: the declaration before, with V rows.
        rows: V', at least V.
        key: of the table's ``create``: the new rows are then those of a table that was made with V' rows.
        mesh: where it lies.

    Raises:
        UserError: ``rows`` is below V.
    """
    if rows < table.rows:
        raise UserError(
            f"table {table.name!r} has {table.rows} rows and is to have {rows}: a table only grows, and ids that are "
            "no longer used keep their rows"
        )
    return _grow(state, key, table, replace(table, rows=rows), mesh)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _grow(state: TableState, key: jax.Array, table: Table, large: Table, mesh: Mesh) -> TableState:
    lies, kept = tables.wire(large, mesh), table.rows // mesh.size  # places that hold a row on every shard

    def shard(state: TableState, key: jax.Array) -> TableState:
        ids = jnp.arange(kept, lies.rows) * lies.shards + jax.lax.axis_index(lies.axes)
        old = ids < table.rows

        def lengthen(before: jax.Array, fresh: jax.Array) -> jax.Array:
            behind = _lengthened(before[kept:], len(ids))
            known = old.reshape(-1, *(1,) * (before.ndim - 1))
            return jnp.concatenate([before[:kept], jnp.where(known, behind, fresh)])

        return jax.tree.map(lengthen, state, tables.new_rows(ids, key, large))

    over = PartitionSpec(mesh.axis_names)
    lengthened = jax.shard_map(shard, mesh=mesh, in_specs=(over, PartitionSpec()), out_specs=over, check_vma=False)
    return lengthened(state, key)


def _lengthened(array: jax.Array, length: int) -> jax.Array:
    """With zeros behind."""
    return jnp.pad(array, ((0, length - len(array)), *((0, 0),) * (array.ndim - 1)))
