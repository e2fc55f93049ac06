"""Training state: created sharded from the start, from shapes alone."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax.embedding import order
from rexjax.embedding import table as tables
from rexjax.embedding.bags import Feature
from rexjax.embedding.optimizers import OPTIMIZERS, schedule
from rexjax.embedding.table import Table, TableState
from rexjax.models.recommender import Params, Recommender
from rexjax.runtime.mesh import replicated, shardings
from rexjax.training.settings import Training


class TrainState(NamedTuple):
    """Everything that a step changes."""

    step: jax.Array
    """int32 scalar."""
    params: Params
    """Dense: item encoder, history encoder."""
    slots: Any
    """The dense optimizer's state."""
    table: TableState
    """The item rows and their slots."""


def optimizer(config: Training) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019), eps 1e-8. For the dense parameters."""
    rate = schedule(config.learning_rate, config.warmup, config.decay_steps)
    return optax.adamw(rate, weight_decay=config.weight_decay)


def item_table(
    recommender: Recommender, rows: int, config: Training, sparse: bool, features: tuple[Feature, ...] = ()
) -> Table:
    """The item table's declaration, for ``rows`` items of which a step updates all or (``sparse``) some.

    ``features`` are those by which an objective reads it.
    """
    chosen = config.rows
    peak = chosen.learning_rate or config.learning_rate
    rule = OPTIMIZERS[chosen.optimizer](
        schedule(peak, config.warmup, config.decay_steps), weight_decay=config.weight_decay, clip=chosen.clip
    )
    return Table(
        "items",
        rows,
        recommender.items.width,
        chosen.dtype,
        features=features,
        optimizer=rule,
        sparse=sparse,
        capacity=chosen.capacity,
    )


def create(
    recommender: Recommender, config: Training, table: Table, *, seed: int, text_width: int, mesh: jax.sharding.Mesh
) -> TrainState:
    """A new state on ``mesh``; no host ever holds it whole.

    Args:
        recommender: the model.
        config: the optimizer's settings.
        table: the item table.
        seed: decides all initial values, whatever the mesh.
        text_width: width W of the text vectors.
        mesh: where it will live.
    """
    shapes = abstract(recommender, config, table, text_width=text_width, mesh=mesh)
    where = jax.tree.map(lambda leaf: leaf.sharding, (shapes.step, shapes.params, shapes.slots))
    dense_key, row_key = jax.random.split(jax.random.key(seed))
    dense = jax.jit(lambda key: nn.unbox(_dense(recommender, config, text_width, key)), out_shardings=where)
    return TrainState(*dense(dense_key), tables.create(table, row_key, mesh))


def abstract(
    recommender: Recommender, config: Training, table: Table, *, text_width: int, mesh: jax.sharding.Mesh
) -> TrainState:
    """Shapes and shardings (``ShapeDtypeStruct``) of ``create``; ``mesh`` may be of devices that are not here."""
    boxed = jax.eval_shape(lambda: _dense(recommender, config, text_width, jax.random.key(0)))
    where = jax.tree.map(lambda s: s or replicated(mesh), shardings(boxed, mesh), is_leaf=lambda leaf: leaf is None)

    def attach(x, s):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)

    return TrainState(*jax.tree.map(attach, nn.unbox(boxed), where), tables.abstract(table, mesh))


def _dense(
    recommender: Recommender, config: Training, text_width: int, key: jax.Array
) -> tuple[jax.Array, Params, Any]:
    """All of a state but its table, boxed with logical axes."""
    params = recommender.init(key, text_width)
    return jnp.zeros((), jnp.int32), params, optimizer(config).init(params)


def with_params(state: TrainState, params: Params, table: Table, mesh: jax.sharding.Mesh) -> TrainState:
    """A new ``state`` that begins at ``params``, as ``whole`` gives them but with the V rows alone; dense parts that
    are left out stay as they are."""

    def copy(old, new):
        return jax.device_put(np.asarray(new), old.sharding, may_alias=False)

    given = {name: jax.tree.map(copy, part, params[name]) for name, part in state.params.items() if name in params}
    # copies, for steps donate them, and the caller keeps his
    return state._replace(params=state.params | given, table=tables.of_rows(params["rows"], table, mesh))


def with_rows_where(state: TrainState, real: jax.Array) -> TrainState:
    """A new ``state`` whose rows are zeros but where ``real``, bool [P] as they lie, says otherwise."""
    cleared = jax.jit(lambda packed, real: jnp.where(real[:, None], packed, 0), donate_argnums=0)
    return state._replace(table=state.table._replace(packed=cleared(state.table.packed, real)))


def whole(state: TrainState, table: Table, mesh: jax.sharding.Mesh) -> Params:
    """All parameters, the rows [P, D] float32 in the order of item ids (padding last)."""
    rows = tables.current_rows(state.table, state.step, table).astype(jnp.float32)
    return {"rows": order.to_logical(rows, mesh), **state.params}
