"""One training step, ``(state, batch) -> (state, metrics)``, jitted with shardings."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from rexjax.data.batches import Batch
from rexjax.embedding import features
from rexjax.embedding import table as tables
from rexjax.embedding.table import Table, TableState
from rexjax.models.recommender import Params, Recommender
from rexjax.runtime.mesh import replicated, sharding
from rexjax.training.catalogue import Constants, constants_shardings
from rexjax.training.objectives import NamedRows, Objective, WholeTable
from rexjax.training.settings import Training
from rexjax.training.state import TrainState, abstract, optimizer


def make_step(
    objective: Objective,
    recommender: Recommender,
    config: Training,
    table: Table,
    *,
    seed: int,
    text_width: int,
    mesh: Mesh,
) -> Callable[..., Any]:
    """Jits ``(state, batch, lists, constants) -> (state, {"loss": …})``; the state is donated.

    Batches lie over "data", item rows over the whole mesh; randomness is ``fold_in(seed, step)``. ``NamedRows`` also
    report "exchange_rounds", how often the exchange of rows had to go round.
    """
    rule = optimizer(config)
    kind = _named_rows if table.sparse else _whole_table
    move_rows = kind(objective, recommender, table, mesh)

    def step(state: TrainState, batch: Batch, lists: Any, constants: Constants) -> tuple[TrainState, dict[str, Any]]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        gradients, rows, metrics = move_rows(state, batch, lists, constants, key)
        updates, slots = rule.update(gradients, state.slots, state.params)
        return TrainState(state.step + 1, optax.apply_updates(state.params, updates), slots, rows), metrics

    shapes = abstract(recommender, config, table, text_width=text_width, mesh=mesh)
    where = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    over_batch = sharding(mesh, "batch")
    return jax.jit(
        step,
        in_shardings=(where, over_batch, over_batch, constants_shardings(mesh)),
        out_shardings=(where, replicated(mesh)),
        donate_argnums=0,
    )


Moved = tuple[Params, TableState, dict[str, Any]]
"""Dense gradients, the table after its update, metrics."""


def _whole_table(
    objective: WholeTable, recommender: Recommender, table: Table, mesh: Mesh
) -> Callable[[TrainState, Batch, Any, Constants, jax.Array], Moved]:
    def move_rows(state: TrainState, batch: Batch, lists: Any, constants: Constants, key: jax.Array) -> Moved:
        def loss(rows: jax.Array, dense: Params) -> jax.Array:
            return objective.loss(dense | {"rows": rows}, batch, lists, constants, key, table, mesh)

        rows = tables.split(state.table, table).rows.astype(jnp.float32)
        value, (row_gradients, gradients) = jax.value_and_grad(loss, (0, 1))(rows, state.params)
        moved = tables.update_all(state.table, row_gradients, state.step, key, table, mesh)
        return gradients, moved, {"loss": value}

    return move_rows


def _named_rows(
    objective: NamedRows, recommender: Recommender, table: Table, mesh: Mesh
) -> Callable[[TrainState, Batch, Any, Constants, jax.Array], Moved]:
    def move_rows(state: TrainState, batch: Batch, lists: None, constants: Constants, key: jax.Array) -> Moved:
        drawn = objective.draw(batch, constants, key, table)
        ids = drawn[0]
        routing = features.route(ids, table, mesh)
        text = constants.text if constants.text.shape[1] else None
        (rows, text), rounds = tables.gather(state.table, routing, state.step, table, mesh, beside=text)
        text = jnp.zeros((len(rows), 0)) if text is None else text

        def loss(rows: jax.Array, dense: Params) -> jax.Array:
            distinct = recommender.item_vectors(dense | {"rows": rows}, text, jax.random.fold_in(key, 2))
            vectors = features.vectors(distinct, routing, ids, table, mesh)
            return objective.loss(dense, vectors, batch, drawn, key)

        value, (row_gradients, gradients) = jax.value_and_grad(loss, (0, 1))(rows.astype(jnp.float32), state.params)
        moved, _ = tables.update(state.table, routing, row_gradients, state.step, key, table, mesh)
        return gradients, moved, {"loss": value, "exchange_rounds": rounds}

    return move_rows
