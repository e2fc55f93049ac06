"""Training on pairs of a user and an item: each positive pair stands beside items that the user does not have."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax.errors import UserError, check_least, check_positive
from rexjax.runtime import processes
from rexjax.runtime.mesh import place, replicated, sharding
from rexjax.runtime.progress import notice, track
from rexjax.training import log
from rexjax.training.negatives import draw_unowned, owned

STEPS = 256
"""Steps a call, at most."""

Params = dict[str, Any]
""""tables": arrays by side, with a row for each user or item; "dense": all other parameters."""


@dataclass(frozen=True)
class PairTraining:
    """How a model of pairs is trained: by Adam, on all distinct training pairs in a new order each epoch."""

    epochs: int = 20
    """Passes over the pairs, at most."""
    batch: int = 1024
    """Positive pairs a step."""
    negatives: int = 4
    """Items drawn for each positive pair, evenly from those that the user does not have."""
    learning_rate: float = 3e-3
    """Adam's step size."""
    patience: int = 2
    """Epochs without a better validation metric after which training ends; the best epoch is kept. 0: no validation,
    all epochs are trained, and the last is kept."""

    validate_users: int = 1024
    """Users, drawn by the seed, that are ranked at each validation, at most."""

    def __post_init__(self) -> None:
        check_least(self, "training", 1, "epochs", "batch", "negatives", "validate_users")
        check_least(self, "training", 0, "patience")
        check_positive(self, "training", "learning_rate")


class Pairs(NamedTuple):
    """Distinct positive pairs, on the host."""

    users: np.ndarray
    """int32 [E]."""
    items: np.ndarray
    """int32 [E]."""
    values: np.ndarray
    """float32 [E], a rating, or 1."""


class PairBatch(NamedTuple):
    """What a loss is computed of."""

    users: jax.Array
    """int32 [P]."""
    items: jax.Array
    """int32 [P, 1 + M], the positive item, then the negative ones."""
    values: jax.Array
    """float32 [P], of the positive pairs."""
    where: jax.Array
    """bool [P], False at padding."""


class PairTask(NamedTuple):
    """What is trained."""

    name: str
    """For progress."""
    key: str
    """Of the training settings in the config, for error sentences."""
    params: Params
    """First parameters, on the host."""
    loss: Callable[[Params, PairBatch, Any], jax.Array]
    """(parameters, batch, constants) → float32 scalar."""
    constants: Any
    """Arrays that the loss reads besides."""
    validate: Callable[[Params], float]
    """The validation metric of parameters on the host."""
    select: str
    """Its name."""


class FittedPairs(NamedTuple):
    """The result."""

    params: Params
    """On the host."""
    summary: dict[str, Any]
    """Epochs, the best one, its validation metric, the curve."""


def train_pairs(
    task: PairTask,
    pairs: Pairs,
    settings: PairTraining,
    *,
    users: int,
    items: int,
    seed: int,
    mesh: jax.sharding.Mesh,
) -> FittedPairs:
    """Trains until the epochs or the patience are used up.

    The tables lie by rows over the mesh, the pairs of a step over "data". Draws and order follow from (seed, step).

    Args:
        task: parameters and loss.
        pairs: positive pairs; those of users who have every item are left out.
        settings: steps and stopping.
        users: U.
        items: N.
        seed: all randomness.
        mesh: devices.

    Raises:
        UserError: more negatives than items, a batch that the devices do not divide, no pair, or a loss of NaN.
    """
    _check(task, settings, items, mesh)
    of_users = owned(pairs.users, pairs.items, users)
    pairs = _with_negatives(pairs, np.diff(of_users.offsets) < items)
    optimizer = optax.adam(settings.learning_rate)
    state, places = _first_state(optimizer, task.params, mesh)
    constants = place((of_users, task.constants), replicated(mesh))
    run = _compiled(task.loss, optimizer, settings.negatives, items, places, mesh)
    best, curve, steps = _Best(task.params, 0, -1.0), [], 0
    for epoch in range(1, settings.epochs + 1):
        losses = []
        for numbers, batches in track(_calls(pairs, settings.batch, seed, epoch - 1), f"{task.name}, epoch {epoch}"):
            placed = place(batches, sharding(mesh, None, "batch"))
            state, loss = run(state, numbers, placed, constants, jax.random.key(seed))
            losses.append(np.asarray(loss))  # waits: queued collectives can block emulated devices
        values, steps = {"epoch": epoch, "loss": float(np.concatenate(losses).mean())}, sum(map(len, losses))
        _refuse_nan(task, values)
        if settings.patience or epoch == settings.epochs:
            best = _better(task, settings, best, _on_host(state[0], task.params), values)
        curve.append(values)
        notice(log.epoch_line(task.name, epoch, settings.epochs, values, task.select, best.epoch))
        if settings.patience and epoch - best.epoch >= settings.patience:
            break
    summary = {"epochs": len(curve), "best_epoch": best.epoch, f"valid_{task.select}": best.reached, "curve": curve}
    return FittedPairs(best.params, summary | {"most_epochs": settings.epochs, "steps": steps})


class _Best(NamedTuple):
    """The epoch that is kept."""

    params: Params
    epoch: int
    reached: float
    """Its validation metric; -1 without validation."""


def _better(task: PairTask, settings: PairTraining, best: _Best, params: Params, values: dict[str, Any]) -> _Best:
    """The better of two epochs; the validation metric of the new one is put into ``values``."""
    if not settings.patience:
        return _Best(params, values["epoch"], best.reached)
    values[task.select] = task.validate(params)
    better = processes.everywhere(values[task.select] > best.reached)
    return _Best(params, values["epoch"], values[task.select]) if better else best


def _check(task: PairTask, settings: PairTraining, items: int, mesh: jax.sharding.Mesh) -> None:
    if settings.negatives >= items:
        raise UserError(
            f"--{task.key}.negatives {settings.negatives} is too many for a catalogue of {items} items: set it to "
            f"{items - 1} or less"
        )
    if settings.batch % mesh.shape["data"]:
        raise UserError(f"--{task.key}.batch {settings.batch} is not divided by {mesh.shape['data']} data devices")


def _with_negatives(pairs: Pairs, lacks: np.ndarray) -> Pairs:
    kept = Pairs(*(values[lacks[pairs.users]] for values in pairs))
    if not len(kept.users):
        raise UserError("no user has a training event and lacks an item: see --data.split")
    return kept


def _shardings(params: Params, mesh: jax.sharding.Mesh) -> Any:
    over_rows = jax.tree.map(lambda _: sharding(mesh, "rows"), params["tables"])
    return {"tables": over_rows, "dense": jax.tree.map(lambda _: replicated(mesh), params["dense"])}


def _first_state(optimizer: Any, params: Params, mesh: jax.sharding.Mesh) -> tuple[Any, Any]:
    """Parameters and moments on the mesh, and their shardings; tables are padded so that all devices have as much."""
    where = _shardings(params, mesh)

    def padded(table: np.ndarray) -> np.ndarray:
        return np.pad(table, ((0, -len(table) % mesh.size), (0, 0)))

    wide = {"tables": jax.tree.map(padded, params["tables"]), "dense": params["dense"]}
    moments = optimizer.init(wide)
    of_moments = optax.tree_map_params(
        optimizer, lambda _, own: own, moments, where, transform_non_params=lambda _: replicated(mesh)
    )
    return place((wide, moments), (where, of_moments)), (where, of_moments)


def _on_host(params: Params, like: Params) -> Params:
    """Whole parameters without the padding of tables."""
    return jax.tree.map(lambda own, first: np.array(own[: len(first)]), processes.gather(params), like)


def _refuse_nan(task: PairTask, values: dict[str, Any]) -> None:
    if math.isnan(values["loss"]):
        raise UserError(
            f"the loss of {task.name} became NaN in epoch {values['epoch']}: set --{task.key}.learning-rate lower"
        )


def _calls(pairs: Pairs, batch: int, seed: int, epoch: int) -> list[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
    """Step numbers int32 [S] and batches [S, P] of users, items, values and where, call by call.

    All calls of an epoch have as many steps, and all steps about as many pairs.
    """
    count = len(pairs.users)
    calls = -(-count // (batch * STEPS))
    steps = -(-count // batch)
    size = -(-steps // calls)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    edges = np.linspace(0, count, calls * size + 1).astype(np.int64)
    at = edges[:-1, None] + np.arange(batch)
    where = at < edges[1:, None]
    chosen = order[np.minimum(at, count - 1)]
    arrays = [values[chosen].reshape(calls, size, batch) for values in pairs] + [where.reshape(calls, size, batch)]
    numbers = (epoch * calls * size + np.arange(calls * size, dtype=np.int32)).reshape(calls, size)
    return [(numbers[call], tuple(array[call] for array in arrays)) for call in range(calls)]


def _compiled(
    loss: Callable[..., jax.Array], optimizer: Any, negatives: int, items: int, places: Any, mesh: jax.sharding.Mesh
) -> Callable[..., Any]:
    """(state, step numbers [S], batches [S, P], constants, key) → state, losses float32 [S]."""

    def step(constants: Any, key: jax.Array, state: Any, now: Any) -> tuple[Any, jax.Array]:
        (params, moments), (number, (users, positives, values, where)), (of_users, rest) = state, now, constants
        drawn = draw_unowned(jax.random.fold_in(key, number), of_users, users, negatives, items)
        batch = PairBatch(users, jnp.concatenate([positives[:, None], drawn], 1), values, where)
        value, gradient = jax.value_and_grad(loss)(params, batch, rest)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), value

    def run(state: Any, numbers: jax.Array, batches: Any, constants: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        return jax.lax.scan(partial(step, constants, key), state, (numbers, batches))

    return jax.jit(run, donate_argnums=0, out_shardings=(places, replicated(mesh)))
