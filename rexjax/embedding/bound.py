"""A table on a mesh, for any training loop: ``init``, ``lookup`` and ``update``, which are pure and may be jitted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from rexjax.embedding import features, growth
from rexjax.embedding import table as tables
from rexjax.embedding.bags import pack, unpack
from rexjax.embedding.exchange import Routing
from rexjax.embedding.optimizers import RowOptimizer
from rexjax.embedding.table import Table, TableState
from rexjax.runtime.arguments import check_id_range, check_integers, check_mesh, check_shape

Ids = jax.Array | Mapping[str, jax.Array]
"""int32 of any shape, or such an array for each of some features of the table; -1 is padding."""
Weights = Mapping[str, jax.Array] | None


@dataclass(frozen=True)
class BoundTable:
    """What ``Table.on`` gives. Hashable, so that it may be a static argument of a jitted function."""

    table: Table
    mesh: Mesh

    def __post_init__(self) -> None:
        check_mesh("mesh", self.mesh)

    def init(self, key: jax.Array) -> TableState:
        """New rows and slots, sharded over the mesh. Row r is a function of (key, r): the same on every mesh."""
        return tables.create(self.table, key, self.mesh)

    def lookup(
        self,
        state: TableState,
        ids: Ids,
        step: jax.Array | int | None = None,
        *,
        weights: Weights = None,
    ) -> Any:
        """Rows of ``ids``.

        Args:
            state: the table's state.
            ids: int32 [...], -1 is padding; or a mapping from names of the table's features to such arrays.
            step: int32, updates so far. Only ExactAdam needs it, to make up for updates without the row.
            weights: float32 [B, K], for each feature with a combiner that has some.

        Returns:
            [..., D] in the table's dtype, zeros for -1; for a mapping, a dict of them: [B, D] for features with a
            combiner, whose ids are bags [B, K].

        Raises:
            TypeError: ids that are no integers.
            ValueError: a state of another table or mesh, concrete ids beyond the table, ExactAdam without ``step``.
            UserError: a feature that the table does not declare.
        """
        self._check(state, ids)
        if step is None and type(self.table.optimizer).current is not RowOptimizer.current:
            raise ValueError(f"step is None: {type(self.table.optimizer).__name__} needs the number of updates so far")
        return _lookup(self, state, ids, jnp.asarray(0 if step is None else step, jnp.int32), weights)

    def update(
        self,
        state: TableState,
        ids: Ids,
        gradients: Any,
        step: jax.Array | int,
        key: jax.Array | None = None,
        *,
        weights: Weights = None,
    ) -> TableState:
        """Moves the rows of ``ids`` by the table's optimizer, each once and by the sum of its gradients.

        Args:
            state: the table's state; donate it, and it changes in place.
            ids: as they were looked up.
            gradients: of the loss with respect to what ``lookup`` gave, in its structure and shapes; those of -1 count
                for nothing.
            step: int32, updates before this one.
            key: for stochastic rounding; only bfloat16 tables need it. It may be the same in every step.
            weights: as they were looked up.

        Returns:
            The new state.

        Raises:
            TypeError: ids that are no integers.
            ValueError: a state of another table or mesh, concrete ids beyond the table, gradients of another shape, a
                bfloat16 table without ``key``.
            UserError: a feature that the table does not declare.
        """
        self._check(state, ids)
        if key is None and self.table.dtype == "bfloat16":
            raise ValueError("key is None: a bfloat16 table rounds stochastically and needs one")
        return _update(self, state, ids, gradients, jnp.asarray(step, jnp.int32), key, weights)

    def grow(self, state: TableState, rows: int, key: jax.Array) -> "tuple[BoundTable, TableState]":
        """The table with ``rows`` rows, of which the first V and their slots stay as they are.

        Each device lengthens its own part; no row travels.

        Args:
            state: the table's state.
            rows: V', at least V.
            key: that of ``init``: the new rows are then those of a table that had V' rows from the start.

        Returns:
            The larger table on the mesh, and its state.

        Raises:
            ValueError: a state of another table or mesh.
            UserError: ``rows`` is below V.

        >>> import jax, jax.numpy as jnp
        >>> from rexjax.embedding import Table
        >>> from rexjax import make_mesh
        >>> items, key = Table("items", rows=100, width=4).on(make_mesh(1)), jax.random.key(0)
        >>> more, state = items.grow(items.init(key), 120, key)
        >>> ids = jnp.asarray([7, 119])
        >>> bool((more.lookup(state, ids) == more.lookup(more.init(key), ids)).all())
        True
        """
        self._check(state, jnp.zeros(0, jnp.int32))
        return BoundTable(replace(self.table, rows=rows), self.mesh), growth.grow(
            state, self.table, rows, key, self.mesh
        )

    def _check(self, state: TableState, ids: Ids) -> None:
        expected = tables.abstract(self.table, self.mesh)
        if jax.tree.structure(state) != jax.tree.structure(expected):
            raise ValueError(f"state is not one of table {self.table.name!r}: make it by init")
        for leaf, shape in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
            check_shape("state", leaf, shape.shape, "table and mesh")
        named = {f"ids[{name!r}]": part for name, part in ids.items()} if isinstance(ids, Mapping) else {"ids": ids}
        for name, part in named.items():
            check_integers(name, part)
            check_id_range(name, part, self.table.rows)


@partial(jax.jit, static_argnums=0)
def _lookup(bound: BoundTable, state: TableState, ids: Ids, step: jax.Array, weights: Weights) -> Any:
    routing = _route(bound, ids)
    (distinct, _), _ = tables.gather(state, routing, step, bound.table, bound.mesh)
    return _expand(bound, distinct, routing, ids, weights)


@partial(jax.jit, static_argnums=0)
def _update(
    bound: BoundTable,
    state: TableState,
    ids: Ids,
    gradients: Any,
    step: jax.Array,
    key: jax.Array | None,
    weights: Weights,
) -> TableState:
    routing = _route(bound, ids)
    zeros = jnp.zeros((len(routing.ids), bound.table.width), jnp.float32)
    rows, to_distinct = jax.vjp(lambda distinct: _expand(bound, distinct, routing, ids, weights), zeros)
    (by_distinct,) = to_distinct(_float32_like(gradients, rows))
    return tables.update(state, routing, by_distinct, step, key, bound.table, bound.mesh)[0]


def _route(bound: BoundTable, ids: Ids) -> Routing:
    if isinstance(ids, Mapping):
        return features.route(ids, bound.table, bound.mesh)
    return tables.route(pack({"": ids}, bound.mesh.size), bound.table, bound.mesh)


def _expand(bound: BoundTable, distinct: jax.Array, routing: Routing, ids: Ids, weights: Weights) -> Any:
    if isinstance(ids, Mapping):
        return features.vectors(distinct, routing, ids, bound.table, bound.mesh, weights)
    return unpack(tables.expand(distinct, routing, bound.mesh), {"": ids}, bound.mesh.size)[""]


def _float32_like(gradients: Any, rows: Any) -> Any:
    """The gradients in float32, if they have the structure and shapes of ``rows``."""
    if jax.tree.structure(gradients) != jax.tree.structure(rows):
        raise ValueError("gradients has another structure than what lookup gives for these ids")
    for gradient, row in zip(jax.tree.leaves(gradients), jax.tree.leaves(rows), strict=True):
        check_shape("gradients", gradient, row.shape, "ids")
    return jax.tree.map(lambda gradient: gradient.astype(jnp.float32), gradients)
