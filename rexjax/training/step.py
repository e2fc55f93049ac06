"""One training step, ``(state, batch) -> (state, metrics)``, jitted with shardings; and the objectives it minimises.

An objective reads either the whole item table (``WholeTable``: a full softmax needs every row, and every row moves) or
only the rows that a batch names (``NamedRows``: the cost of a step does not depend on the number of items).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from rexjax import losses
from rexjax.config import Training
from rexjax.data.batches import Batch
from rexjax.embedding import features, order, softmax
from rexjax.embedding import table as tables
from rexjax.embedding.bags import Feature
from rexjax.embedding.table import Table, TableState
from rexjax.mesh import replicated, sharding
from rexjax.models.recommender import Params, Recommender
from rexjax.training.state import TrainState, abstract, optimizer

BLOCKS = 1 << 20
"""Negatives are drawn by popularity from at most so many blocks of neighbouring items, evenly inside one (a block is
one item until there are more items)."""


class Catalogue(NamedTuple):
    """What training must know of the N items, on the host."""

    text: np.ndarray
    """float32 [N, W], zeros where there is no text."""
    popularity: np.ndarray
    """int64 [N], training interactions."""


class Constants(NamedTuple):
    """The catalogue on the devices; the first two lie as the item table does (P rows)."""

    text: jax.Array
    """float32 [P, W]."""
    real: jax.Array
    """bool [P], False for rows that only pad."""
    cumulative: jax.Array
    """int32 [blocks], on every device: training interactions (each item counts one more) up to each block's end."""


class Lists(NamedTuple):
    """A teacher's lists for one batch."""

    items: np.ndarray
    """int32 [B, L, K]."""
    weights: np.ndarray
    """float32 [B, L, K], the teacher's probabilities; zeros for padding."""


class WholeTable(NamedTuple):
    """An objective over all items: its table is not sparse."""

    sparse, features = False, ()
    loss: Callable[..., jax.Array]
    """``(params, batch, lists or None, constants, key, table, mesh) -> scalar``; params["rows"] [P, D] as they lie."""


class NamedRows(NamedTuple):
    """An objective over the items that a batch names."""

    sparse = True
    features: tuple[Feature, ...]
    """What ``draw`` gives ids for."""
    draw: Callable[..., tuple[dict[str, jax.Array], Any]]
    """``(batch, constants, key, table) -> {feature: int32 item ids}`` and what else ``loss`` must know of the draw."""
    loss: Callable[..., jax.Array]
    """``(dense params, {feature: item vectors}, batch, drawn, key) -> scalar``; drawn is what ``draw`` gave."""


Objective = WholeTable | NamedRows


def full_softmax(recommender: Recommender) -> Objective:
    """Cross-entropy of the next item over the whole catalogue."""

    def loss(params, batch, lists, constants, key, table, mesh):
        users, items = _users_and_items(recommender, params, batch, constants, key, table, mesh)
        labels = tables.physical(batch.labels.reshape(-1), table, mesh)
        targets = softmax.one_label(labels)
        total = softmax.cross_entropy(users, items, targets, constants.real, recommender.scale, mesh)
        return total / jnp.maximum((labels >= 0).sum(), 1)

    return WholeTable(loss)


def distilled(recommender: Recommender, list_weight: float) -> Objective:
    """Cross-entropy to ``list_weight`` parts of the teacher's list and the rest of the label."""

    def loss(params, batch, lists, constants, key, table, mesh):
        users, items = _users_and_items(recommender, params, batch, constants, key, table, mesh)
        labels = tables.physical(batch.labels.reshape(-1), table, mesh)
        rows = tables.physical(lists.items.reshape(len(labels), -1), table, mesh)
        of_lists = softmax.Targets(rows, lists.weights.reshape(rows.shape))
        targets = softmax.mixture(labels, of_lists, list_weight)
        total = softmax.cross_entropy(users, items, targets, constants.real, recommender.scale, mesh)
        return total / jnp.maximum((labels >= 0).sum(), 1)

    return WholeTable(loss)


def sampled_softmax(recommender: Recommender, negatives: int) -> Objective:
    """Cross-entropy over the next item and M items drawn by popularity, shared by the batch, with logQ correction."""

    def draw(batch, constants, key, table):
        sampled, log_share = _draw(constants, jax.random.fold_in(key, 1), negatives, table)
        return {"history": batch.items, "labels": batch.labels, "sampled": sampled}, log_share

    def loss(params, vectors, batch, drawn, key):
        ids, log_share = drawn
        users = recommender.user_vectors(params["history"], vectors["history"], batch, jax.random.fold_in(key, 0))
        return losses.sampled_softmax(
            recommender.scale * jnp.einsum("bld,md->blm", users, vectors["sampled"]),
            batch.labels,
            where=batch.labels >= 0,
            positive=recommender.scale * jnp.sum(users * vectors["labels"], -1),
            sampled=ids["sampled"],
            log_expected=jnp.log(float(negatives)) + log_share,
        )

    return NamedRows(tuple(map(Feature, ("history", "labels", "sampled"))), draw, loss)


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
    report "rounds", how often the exchange of rows had to go round.
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


def constants_shardings(mesh: Mesh) -> Constants:
    """Rows over the whole mesh."""
    return Constants(sharding(mesh, "rows", None), sharding(mesh, "rows"), replicated(mesh))


def place(catalogue: Catalogue, table: Table, mesh: Mesh) -> Constants:
    """The catalogue as the devices need it."""
    items, rows = len(catalogue.popularity), tables.padded(table, mesh)
    item = np.asarray(order.to_physical(np.arange(rows), mesh))  # of each row
    real = item < items
    text = np.where(real[:, None], catalogue.text[np.minimum(item, items - 1)], 0).astype(np.float32)
    size = block_size(items)
    weights = np.pad(catalogue.popularity + 1, (0, -items % size)).reshape(-1, size).sum(1)
    weights = np.maximum(weights // (weights.sum() // 2**30 + 1), 1)  # so that their sum is an int32
    return jax.device_put(Constants(text, real, np.cumsum(weights).astype(np.int32)), constants_shardings(mesh))


def block_size(items: int) -> int:
    """Items in one block of the negatives' distribution."""
    return -(-items // BLOCKS)


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
            distinct = recommender.item_vectors(dense | {"rows": rows}, text)
            vectors = features.vectors(distinct, routing, ids, table, mesh)
            return objective.loss(dense, vectors, batch, drawn, key)

        value, (row_gradients, gradients) = jax.value_and_grad(loss, (0, 1))(rows.astype(jnp.float32), state.params)
        moved, _ = tables.update(state.table, routing, row_gradients, state.step, key, table, mesh)
        return gradients, moved, {"loss": value, "rounds": rounds}

    return move_rows


def _users_and_items(recommender, params, batch, constants, key, table, mesh):
    """User vectors [B * L, D] and item vectors [P, D], as the table lies."""
    items = recommender.item_vectors(params, constants.text)
    vectors = tables.look_up(items, batch.items, table, mesh)
    users = recommender.user_vectors(params["history"], vectors, batch, key)
    return users.reshape(-1, users.shape[-1]), items


def _draw(constants: Constants, key: jax.Array, negatives: int, table: Table) -> tuple[jax.Array, jax.Array]:
    """M items by popularity (exact integer arithmetic) and the log of each one's share: int32, float32 [M]."""
    size, total = block_size(table.rows), constants.cumulative[-1]
    block_key, inner_key = jax.random.split(key)
    block = jnp.searchsorted(constants.cumulative, jax.random.randint(block_key, (negatives,), 0, total), side="right")
    weight = constants.cumulative[block] - jnp.where(block > 0, constants.cumulative[block - 1], 0)
    members = jnp.minimum(size, table.rows - block * size)
    inner = jax.random.randint(inner_key, (negatives,), 0, members)
    return (block * size + inner).astype(jnp.int32), jnp.log(weight / total / members)
