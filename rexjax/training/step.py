"""One training step, ``(state, batch) -> (state, metrics)``, jitted with shardings; and the losses it minimises."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax import losses
from rexjax.config import Training
from rexjax.data.batches import Batch
from rexjax.mesh import replicated, sharding
from rexjax.models.recommender import Params, Recommender, gather
from rexjax.training.state import TrainState, optimizer


class Catalogue(NamedTuple):
    """Constants of training that lie beside the item rows (V of them, N real ones)."""

    text: jax.Array
    """float32 [V, W], zeros where there is no text."""
    real: jax.Array
    """bool [V], False for rows that only pad."""
    log_popularity: jax.Array
    """float32 [V], log of the share of training interactions (smoothed)."""


class Lists(NamedTuple):
    """A teacher's lists for one batch."""

    items: np.ndarray
    """int32 [B, L, K]."""
    weights: np.ndarray
    """float32 [B, L, K], the teacher's probabilities; zeros for padding."""


Loss = Callable[[Params, Batch, Any, Catalogue, jax.Array], jax.Array]
"""``(params, batch, lists or None, catalogue, key) -> scalar``."""


def _users_and_items(
    recommender: Recommender, params: Params, batch: Batch, catalogue: Catalogue, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    items = recommender.item_vectors(params, catalogue.text)
    vectors, _ = gather(items, batch.items)
    return recommender.user_vectors(params["history"], vectors, batch, key), items


def _scores(recommender: Recommender, users: jax.Array, items: jax.Array, catalogue: Catalogue) -> jax.Array:
    scores = recommender.scale * jnp.einsum("bld,vd->blv", users, items)
    return jnp.where(catalogue.real, scores, jnp.finfo(scores.dtype).min)


def full_softmax(recommender: Recommender) -> Loss:
    """Cross-entropy of the next item over the whole catalogue."""

    def loss(params: Params, batch: Batch, lists: None, catalogue: Catalogue, key: jax.Array) -> jax.Array:
        users, items = _users_and_items(recommender, params, batch, catalogue, key)
        scores = _scores(recommender, users, items, catalogue)
        return losses.softmax_cross_entropy(scores, batch.labels, where=batch.labels >= 0)

    return loss


def sampled_softmax(recommender: Recommender, negatives: int) -> Loss:
    """Cross-entropy over the next item and M items drawn by popularity, shared by the batch."""

    def loss(params: Params, batch: Batch, lists: None, catalogue: Catalogue, key: jax.Array) -> jax.Array:
        model_key, sample_key = jax.random.split(key)
        users, items = _users_and_items(recommender, params, batch, catalogue, model_key)
        sampled = jax.random.categorical(sample_key, catalogue.log_popularity, shape=(negatives,))
        negative_items, _ = gather(items, sampled[None])
        positive_items, known = gather(items, batch.labels)
        return losses.sampled_softmax(
            recommender.scale * jnp.einsum("bld,md->blm", users, negative_items[0]),
            batch.labels,
            where=known,
            positive=recommender.scale * jnp.sum(users * positive_items, -1),
            sampled=sampled,
            log_expected=jnp.log(float(negatives)) + jnp.take(catalogue.log_popularity, sampled, mode="clip"),
        )

    return loss


def distilled(recommender: Recommender, list_weight: float) -> Loss:
    """Cross-entropy to ``list_weight`` parts of the teacher's list and the rest of the label."""

    def loss(params: Params, batch: Batch, lists: Lists, catalogue: Catalogue, key: jax.Array) -> jax.Array:
        users, items = _users_and_items(recommender, params, batch, catalogue, key)
        scores = _scores(recommender, users, items, catalogue)
        rows = jnp.arange(batch.items.size)[:, None]
        flat_items = lists.items.reshape(rows.shape[0], -1)
        listed = (
            jnp.zeros((rows.shape[0], scores.shape[-1]))
            .at[rows, flat_items]
            .add(lists.weights.reshape(rows.shape[0], -1), mode="drop")
        )
        target = list_weight * listed.reshape(scores.shape)
        target += (1 - list_weight) * jax.nn.one_hot(batch.labels, scores.shape[-1])
        return losses.soft_cross_entropy(scores, target, where=batch.labels >= 0)

    return loss


def make_step(
    loss: Loss, config: Training, seed: int, where: TrainState, mesh: jax.sharding.Mesh
) -> Callable[..., Any]:
    """Jits ``(state, batch, lists, catalogue) -> (state, {"loss": …})``; the state is donated.

    Batches lie over "data", catalogue rows over the whole mesh; randomness is ``fold_in(seed, step)``.
    """
    rule = optimizer(config)

    def step(state: TrainState, batch: Batch, lists: Any, catalogue: Catalogue) -> tuple[TrainState, dict[str, Any]]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        value, gradients = jax.value_and_grad(loss)(state.params, batch, lists, catalogue, key)
        updates, slots = rule.update(gradients, state.slots, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, slots), {"loss": value}

    over_batch = sharding(mesh, "batch")
    return jax.jit(
        step,
        in_shardings=(where, over_batch, over_batch, catalogue_shardings(mesh)),
        out_shardings=(where, replicated(mesh)),
        donate_argnums=0,
    )


def catalogue_shardings(mesh: jax.sharding.Mesh) -> Catalogue:
    """Rows over the whole mesh."""
    return Catalogue(sharding(mesh, "rows", None), sharding(mesh, "rows"), sharding(mesh, "rows"))
