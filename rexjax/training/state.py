"""Training state: created sharded from the start, from shapes alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from rexjax.config import Training
from rexjax.mesh import replicated, shardings
from rexjax.models.recommender import Params, Recommender


class TrainState(NamedTuple):
    """Everything that a step changes."""

    step: jax.Array
    """int32 scalar."""
    params: Params
    """Item rows, item encoder, history encoder."""
    slots: Any
    """The optimizer's state."""


def optimizer(config: Training) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) after a linear warm-up; eps 1e-8."""
    rate = optax.linear_schedule(0.0, config.learning_rate, config.warmup)
    return optax.adamw(rate, weight_decay=config.weight_decay)


def create(
    recommender: Recommender,
    config: Training,
    *,
    seed: int,
    rows: int,
    text_width: int,
    mesh: jax.sharding.Mesh,
) -> tuple[TrainState, TrainState]:
    """A new state on ``mesh`` and its shardings; no host ever holds it whole.

    Args:
        recommender: the model.
        config: the optimizer's settings.
        seed: decides all initial values, whatever the mesh.
        rows: items N.
        text_width: width W of the text vectors.
        mesh: where it will live.
    """
    init, where = _init_and_shardings(recommender, config, seed, rows, text_width, mesh)
    return jax.jit(lambda: nn.unbox(init()), out_shardings=where)(), where


def abstract(
    recommender: Recommender, config: Training, *, rows: int, text_width: int, mesh: jax.sharding.Mesh
) -> tuple[TrainState, TrainState]:
    """The shapes of ``create`` (``ShapeDtypeStruct`` with shardings) and the shardings; holds no values, so that
    ``mesh`` may be of devices that are not here."""
    init, where = _init_and_shardings(recommender, config, 0, rows, text_width, mesh)
    shapes = nn.unbox(jax.eval_shape(init))
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, where), where


def _init_and_shardings(
    recommender: Recommender, config: Training, seed: int, rows: int, text_width: int, mesh: jax.sharding.Mesh
) -> tuple[Callable[[], TrainState], TrainState]:
    def init() -> TrainState:
        params = recommender.init(jax.random.key(seed), rows, text_width)
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer(config).init(params))

    where = shardings(jax.eval_shape(init), mesh)
    return init, jax.tree.map(lambda leaf: leaf or replicated(mesh), where, is_leaf=lambda leaf: leaf is None)
