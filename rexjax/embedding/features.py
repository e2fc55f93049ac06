"""The features that share a table: their ids go out as one list, and each gets its vectors back, bags combined."""

from collections.abc import Mapping

import jax
from jax.sharding import Mesh

from rexjax.embedding import table as tables
from rexjax.embedding.bags import combine, pack, unpack
from rexjax.embedding.exchange import Routing
from rexjax.embedding.table import Table
from rexjax.errors import UserError


def route(ids: Mapping[str, jax.Array], table: Table, mesh: Mesh) -> Routing:
    """One exchange for the ids of all features, int32 of any shape each (-1 is padding).

    Raises:
        UserError: a feature that the table's declaration does not have.
    """
    declared = [feature.name for feature in table.features]
    for name in ids:
        if name not in declared:
            raise UserError(f"table {table.name!r} has no feature {name!r}: it has {', '.join(declared) or 'none'}")
    return tables.route(pack(ids, mesh.size), table, mesh)


def vectors(
    distinct: jax.Array,
    routing: Routing,
    ids: Mapping[str, jax.Array],
    table: Table,
    mesh: Mesh,
    weights: Mapping[str, jax.Array] | None = None,
) -> dict[str, jax.Array]:
    """Each feature's vectors.

    Args:
        distinct: float [n, D], one for each distinct id of ``routing`` (what ``tables.gather`` gave, or made of it).
        routing: what ``route`` gave for ``ids``.
        ids: as they were routed; bags are [B, K].
        table: the declaration.
        mesh: where it lies.
        weights: float32 [B, K] of bags that have some.

    Returns:
        [B, D] for features with a combiner, [..., D] for ids [...] of others (any vector for -1).
    """
    found, weights = unpack(tables.expand(distinct, routing, mesh), ids, mesh.size), weights or {}
    bags = {feature.name: feature.combiner for feature in table.features if feature.combiner}
    return {
        name: combine(rows, ids[name], bags[name], weights.get(name)) if name in bags else rows
        for name, rows in found.items()
    }
