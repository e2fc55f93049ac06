"""Training on labelled examples of named arrays: rows of tables and a dense network, by one joint loss."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax.embedding import order
from rexjax.embedding import table as tables
from rexjax.embedding.bags import pack, unpack
from rexjax.embedding.table import Table, TableState
from rexjax.errors import UserError, check_least, check_positive
from rexjax.runtime import processes
from rexjax.runtime.mesh import place, replicated, sharding
from rexjax.runtime.progress import notice, track
from rexjax.training import log

STEPS = 64
"""Steps a call, at most."""

Rows = dict[str, jax.Array]
"""By table, float32 [B, S, D]."""
Batch = Mapping[str, Any]
"""Named arrays [B, …]."""


@dataclass(frozen=True)
class LabelledTraining:
    """How a ranker is trained."""

    epochs: int = 40
    """Passes over the examples, at most."""
    batch: int = 4096
    """Examples a step."""
    learning_rate: float = 1e-3
    """Step size of tables and network, unless the ranker says otherwise."""
    l2: float = 0.0
    """Ridge of the tables' rows, in every step of all rows, as half of its product with their squared norms."""
    patience: int = 1
    """Epochs without a better validation metric after which the step sizes fall, and in the end training stops; the
    best epoch is kept. 0: no validation, all epochs are trained, and the last is kept."""
    drops: int = 1
    """How often the step sizes fall to a tenth before training stops."""
    sparse: bool = False
    """Only the rows that a batch names move: for tables of many rows. It takes no ``l2``."""

    def __post_init__(self) -> None:
        check_least(self, "training", 1, "epochs", "batch")
        check_least(self, "training", 0, "patience", "drops", "l2")
        check_positive(self, "training", "learning_rate")
        if self.sparse and self.l2:
            raise UserError(
                f"training has sparse=True and l2={self.l2}, which moves all rows: set l2 to 0, or sparse to False"
            )


class LabelledTask(NamedTuple):
    """What is trained."""

    name: str
    """For progress."""
    key: str
    """Of the training settings in the config, for error sentences."""
    tables: dict[str, Table]
    """By name."""
    optimizer: optax.GradientTransformation
    """Of the dense part, at the full step size."""
    dense: Any
    """First dense parameters, on the host."""
    stats: Any
    """First running statistics, on the host."""
    ids: Callable[[Batch], dict[str, jax.Array]]
    """(batch) → for each table the ids int32 [B, S] that it is read at; -1 is padding."""
    loss: Callable[[Any, Any, Rows, Batch, jax.Array], tuple[jax.Array, Any]]
    """(dense, statistics, rows, batch, key) → float32 scalar, new statistics."""
    validate: Callable[["Fitted"], float]
    """The validation metric; larger is better."""
    select: str
    """Its name."""


class Fitted(NamedTuple):
    """A trained network, on the host."""

    tables: dict[str, np.ndarray]
    """By name, float32 [V, D]."""
    dense: Any
    stats: Any


class State(NamedTuple):
    """Everything that a step changes."""

    step: jax.Array
    """int32 scalar."""
    tables: dict[str, TableState]
    dense: Any
    slots: Any
    """The dense optimizer's."""
    stats: Any


class FittedLabelled(NamedTuple):
    """The result."""

    fitted: Fitted
    summary: dict[str, Any]
    """Epochs, the best one, its validation metric, the curve with each epoch's seconds."""


def train_labelled(
    task: LabelledTask,
    examples: Callable[[int], Mapping[str, np.ndarray]],
    settings: LabelledTraining,
    *,
    seed: int,
    mesh: jax.sharding.Mesh,
) -> FittedLabelled:
    """Trains until the epochs or the patience are used up.

    The tables lie by rows over the mesh, the examples of a step over "data". An epoch's last step is filled with
    examples of its beginning. Draws and order follow from (seed, step).

    Args:
        task: tables, network and loss.
        examples: (epoch, from 0) → its named arrays [E, …]; the very same arrays are placed on the devices once.
        settings: steps and stopping.
        seed: all randomness.
        mesh: devices.

    Raises:
        UserError: a batch that the devices do not divide, no example, or a loss of NaN.
    """
    if settings.batch % mesh.size:
        raise UserError(f"--{task.key}.batch {settings.batch} is not divided by {mesh.size} devices")
    state = first_state(task, seed, mesh)
    run, key = _compiled(task, settings, 1.0, mesh), jax.random.key(seed)
    best, curve, drops, waited = _Best(_on_host(task, state, mesh), 0, -math.inf), [], 0, 0
    held: Any = (None, None)
    for epoch in range(1, settings.epochs + 1):
        arrays = examples(epoch - 1)
        if held[0] is not arrays:
            held = arrays, place(dict(arrays), replicated(mesh))
        losses, started = [], time.perf_counter()
        for chosen in track(_orders(arrays, settings.batch, seed, epoch, mesh.size), f"{task.name}, epoch {epoch}"):
            state, loss = run(state, place(chosen, sharding(mesh, None, "batch")), held[1], key)
            losses.append(np.asarray(loss))  # waits: queued collectives can block emulated devices
        seconds = time.perf_counter() - started
        values = {"epoch": epoch, "loss": float(np.concatenate(losses).mean()), "seconds": seconds}
        _refuse_nan(task, values)
        if settings.patience or epoch == settings.epochs:
            best = _better(task, settings, best, _on_host(task, state, mesh), values)
        curve.append(values)
        notice(log.epoch_line(task.name, epoch, settings.epochs, values, task.select, best.epoch))
        waited = 0 if best.epoch == epoch else waited + 1
        if settings.patience and waited >= settings.patience:
            if drops == settings.drops:
                break
            drops, waited = drops + 1, 0
            run = _compiled(task, settings, 0.1**drops, mesh)
    summary = {"epochs": len(curve), "best_epoch": best.epoch, f"valid_{task.select}": best.reached, "curve": curve}
    return FittedLabelled(best.fitted, summary | {"most_epochs": settings.epochs, "steps": int(state.step)})


class _Best(NamedTuple):
    """The epoch that is kept."""

    fitted: Fitted
    epoch: int
    reached: float
    """Its validation metric; -inf without validation."""


def _better(task: LabelledTask, settings: LabelledTraining, best: _Best, fitted: Fitted, values: dict) -> _Best:
    """The better of two epochs; the validation metric of the new one is put into ``values``."""
    if not settings.patience:
        return _Best(fitted, values["epoch"], best.reached)
    values[task.select] = task.validate(fitted)
    better = processes.everywhere(values[task.select] > best.reached)
    return _Best(fitted, values["epoch"], values[task.select]) if better else best


def first_state(task: LabelledTask, seed: int, mesh: jax.sharding.Mesh) -> State:
    """A new state on the mesh; row r of a table is the same on every mesh.

    Args:
        task: tables and dense parameters.
        seed: of the tables.
        mesh: devices.
    """
    keys = jax.random.split(jax.random.key(seed), len(task.tables))
    made = {
        name: tables.create(table, key, mesh)
        for key, (name, table) in zip(keys, sorted(task.tables.items()), strict=True)
    }
    dense, stats = jax.tree.map(np.asarray, (task.dense, task.stats))
    rest = place((np.zeros((), np.int32), dense, task.optimizer.init(dense), stats), replicated(mesh))
    step, dense, slots, stats = jax.tree.map(jnp.copy, rest)  # steps donate them
    return State(step, made, dense, slots, stats)


def _on_host(task: LabelledTask, state: State, mesh: jax.sharding.Mesh) -> Fitted:
    whole = {
        name: order.to_logical(tables.current_rows(state.tables[name], state.step, table), mesh)
        for name, table in task.tables.items()
    }
    rows, dense, stats = jax.tree.map(np.array, processes.gather((whole, state.dense, state.stats)))
    return Fitted({name: rows[name][: table.rows] for name, table in task.tables.items()}, dense, stats)


def _refuse_nan(task: LabelledTask, values: dict[str, Any]) -> None:
    if math.isnan(values["loss"]):
        raise UserError(
            f"the loss of {task.name} became NaN in epoch {values['epoch']}: set --{task.key}.learning-rate lower"
        )


def _orders(arrays: Mapping[str, np.ndarray], batch: int, seed: int, epoch: int, devices: int) -> list[np.ndarray]:
    """Which examples each step takes, int32 [S, B], call by call."""
    count = len(next(iter(arrays.values())))
    if not count:
        raise UserError("there is no example to train on: see --data.split")
    batch = min(batch, -(-count // devices) * devices)
    calls = -(-count // (batch * STEPS))
    steps = -(-count // batch)
    size = -(-steps // calls)
    shuffled = np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)
    return list(np.resize(shuffled, (calls, size, batch)))


def _scaled(task: LabelledTask, scale: float) -> LabelledTask:
    """The task with all step sizes times ``scale``."""

    def slower(table: Table) -> Table:
        rate = table.optimizer.learning_rate
        if callable(rate):
            raise UserError(f"table {table.name!r} has a schedule of step sizes: give it a number")
        return replace(table, optimizer=replace(table.optimizer, learning_rate=scale * rate))

    slowed = {name: slower(table) for name, table in task.tables.items()}
    return task._replace(tables=slowed, optimizer=_slower(task.optimizer, scale))


def _slower(optimizer: optax.GradientTransformation, scale: float) -> optax.GradientTransformation:
    """The same slots, and smaller moves."""

    def update(gradients: Any, slots: Any, params: Any = None) -> tuple[Any, Any]:
        moves, slots = optimizer.update(gradients, slots, params)
        return jax.tree.map(lambda move: scale * move, moves), slots

    return optax.GradientTransformation(optimizer.init, update)


def _compiled(
    task: LabelledTask, settings: LabelledTraining, scale: float, mesh: jax.sharding.Mesh
) -> Callable[..., Any]:
    """(state, orders [S, B], arrays, key) → state, losses float32 [S]; the state is donated."""
    step = make_step(_scaled(task, scale), settings, mesh)

    def run(state: State, orders: jax.Array, arrays: Batch, key: jax.Array) -> tuple[State, jax.Array]:
        def one(state: State, chosen: jax.Array) -> tuple[State, jax.Array]:
            return step(state, jax.tree.map(lambda whole: whole[chosen], arrays), key)

        return jax.lax.scan(one, state, orders)

    return jax.jit(run, donate_argnums=0)


def make_step(
    task: LabelledTask, settings: LabelledTraining, mesh: jax.sharding.Mesh
) -> Callable[[State, Batch, jax.Array], tuple[State, jax.Array]]:
    """One step, ``(state, batch, key) -> (state, loss)``, to be jitted.

    Args:
        task: tables, network and loss.
        settings: ridge, and whether all rows move.
        mesh: devices.
    """

    def step(state: State, batch: Batch, key: jax.Array) -> tuple[State, jax.Array]:
        ids, drawn = task.ids(batch), jax.random.fold_in(key, state.step)
        looked = {name: _look(table, state, name, ids[name], mesh) for name, table in task.tables.items()}

        def loss(dense: Any, values: Rows) -> tuple[jax.Array, Any]:
            rows = {name: expand(values[name]) for name, (_, expand, _) in looked.items()}
            return task.loss(dense, state.stats, rows, batch, drawn)

        values = {name: values for name, (values, _, _) in looked.items()}
        (value, stats), (of_dense, of_rows) = jax.value_and_grad(loss, (0, 1), has_aux=True)(state.dense, values)
        moves, slots = task.optimizer.update(of_dense, state.slots, state.dense)
        moved = {
            name: update(of_rows[name] + settings.l2 * values[name] if settings.l2 else of_rows[name], drawn)
            for name, (_, _, update) in looked.items()
        }
        return State(state.step + 1, moved, optax.apply_updates(state.dense, moves), slots, stats), value

    return step


def _look(
    table: Table, state: State, name: str, ids: jax.Array, mesh: jax.sharding.Mesh
) -> tuple[jax.Array, Callable[..., jax.Array], Callable[..., TableState]]:
    """What gradients are taken of, how it becomes the rows of ``ids``, and the update by those gradients."""
    held, step = state.tables[name], state.step
    if not table.sparse:
        values = tables.current_rows(held, step, table)
        return (
            values,
            lambda values: tables.look_up(values, ids, table, mesh),
            lambda gradients, key: tables.update_all(held, gradients, step, key, table, mesh),
        )
    routing = tables.route(pack({"": ids}, mesh.size), table, mesh)
    (distinct, _), _ = tables.gather(held, routing, step, table, mesh)
    return (
        distinct,
        lambda values: unpack(tables.expand(values, routing, mesh), {"": ids}, mesh.size)[""],
        lambda gradients, key: tables.update(held, routing, gradients, step, key, table, mesh)[0],
    )
