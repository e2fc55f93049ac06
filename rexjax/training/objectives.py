"""What a training step minimises.

An objective reads either the whole item table (``WholeTable``: a full softmax needs every row, and every row moves) or
only the rows that a batch names (``NamedRows``: the cost of a step does not depend on the number of items).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding import table as tables
from rexjax.embedding.bags import Feature
from rexjax.losses import sampled as losses
from rexjax.losses import sharded_softmax
from rexjax.losses.listwise import LISTWISE
from rexjax.models.layers import normalize
from rexjax.models.recommender import Recommender
from rexjax.training.catalogue import Constants, draw_evenly, draw_popular, log_shares


class Lists(NamedTuple):
    """A teacher's lists for one batch."""

    items: np.ndarray
    """int32 [B, L, K]."""
    weights: np.ndarray
    """float32 [B, L, K], falling with K: the teacher's probabilities times what the list weighs beside the label."""


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

SAMPLED = losses.SAMPLED | LISTWISE
"""Losses over the label and drawn items that the batch shares, by their names in a config."""


class _Forward(NamedTuple):
    """What a step over all items has at hand once users are encoded."""

    params: Any
    batch: Any
    lists: Lists | None
    constants: Constants
    key: jax.Array | None
    items: jax.Array
    """float32 [P, D], all items' vectors as the table lies."""
    history: jax.Array
    """float32 [B, L, D], those of the batch's items."""
    users: jax.Array
    """float32 [B, L, D]."""


def of_labels(recommender: Recommender, loss: str, negatives: int) -> Objective:
    """The loss of that name, over all items or over so many samples."""
    return full_softmax(recommender) if loss == "full_softmax" else OVER_SAMPLES[loss](recommender, negatives=negatives)


def full_softmax(recommender: Recommender) -> Objective:
    """Cross-entropy of the next item over the whole catalogue."""
    return _over_all_items(recommender, lambda labels, *_: sharded_softmax.one_label(labels))


def distilled(recommender: Recommender, alignment: float = 0.0) -> Objective:
    """Cross-entropy to the teacher's top-k and, as far as its weights leave room, the label.

    Adds ``alignment`` times one minus the cosine between the teacher's vector of each item of the history and a learned
    projection (``Recommender.aligned`` wide) of this model's.
    """

    def targets(labels, lists, table, mesh):
        rows = tables.physical(lists.items.reshape(len(labels), -1), table, mesh)
        return sharded_softmax.mixture(labels, sharded_softmax.Targets(rows, lists.weights.reshape(rows.shape)))

    def aligned(at: _Forward, table, mesh):
        projected = normalize(at.history @ at.params["aligned"]["kernel"])
        wanted = tables.look_up(at.constants.aligned, at.batch.items, table, mesh)
        return alignment * losses.mean(1 - jnp.sum(projected * wanted, -1), at.batch.items >= 0)

    return _over_all_items(recommender, targets, *([aligned] if alignment else []))


def _over_all_items(
    recommender: Recommender,
    targets: Callable[..., sharded_softmax.Targets],
    beside: Callable[..., Any] = lambda *_: 0.0,
) -> Objective:
    """The mean over labels; ``targets(labels [T] as the table lies, lists, table, mesh)``; ``beside`` is added."""

    def loss(params, batch, lists, constants, key, table, mesh):
        dropped = None if key is None else jax.random.fold_in(key, 2)
        items = recommender.item_vectors(params, constants.text, dropped)
        vectors = tables.look_up(items, batch.items, table, mesh)
        users = recommender.user_vectors(params["history"], vectors, batch, key)
        labels = tables.physical(batch.labels.reshape(-1), table, mesh)
        wanted = targets(labels, lists, table, mesh)
        flat = users.reshape(-1, users.shape[-1])
        both = _with_prior(flat, items, constants.prior / recommender.scale)
        total = sharded_softmax.cross_entropy(*both, wanted, constants.real, recommender.scale, mesh)
        more = beside(_Forward(params, batch, lists, constants, key, items, vectors, users), table, mesh)
        return total / jnp.maximum((labels >= 0).sum(), 1) + more

    return WholeTable(loss)


def _with_prior(users: jax.Array, items: jax.Array, prior: jax.Array) -> tuple[jax.Array, jax.Array]:
    """users [T, D] and items [P, D], one wider if there is a prior [P, 1]: their products are then more by it."""
    if not prior.shape[1]:
        return users, items
    return jnp.concatenate([users, jnp.ones_like(users[:, :1])], 1), jnp.concatenate([items, prior], 1)


def sampled(recommender: Recommender, kind: str, negatives: int) -> Objective:
    """A loss over the next item and M drawn items that the batch shares; ``kind`` is one of ``SAMPLED``.

    Sampled softmax draws by popularity (and corrects for it), the others evenly, as their papers do.
    """
    draw_items = draw_popular if kind == "sampled_softmax" else draw_evenly

    def draw(batch, constants, key, table):
        drawn, log_share = draw_items(constants, jax.random.fold_in(key, 1), negatives, table)
        return {"history": batch.items, "labels": batch.labels, "sampled": drawn}, log_share

    def loss(params, vectors, batch, drawn, key):
        ids, log_share = drawn
        users = recommender.user_vectors(params["history"], vectors["history"], batch, jax.random.fold_in(key, 0))
        return SAMPLED[kind](
            recommender.scale * jnp.einsum("bld,md->blm", users, vectors["sampled"]),
            batch.labels,
            where=batch.labels >= 0,
            positive=recommender.scale * jnp.sum(users * vectors["labels"], -1),
            sampled=ids["sampled"],
            log_expected=jnp.log(float(negatives)) + log_share,
        )

    return NamedRows(tuple(map(Feature, ("history", "labels", "sampled"))), draw, loss)


def in_batch(recommender: Recommender, negatives: int) -> Objective:
    """A softmax over the next item and labels of other histories in the batch (Yi et al. 2019).

    These are the labels of as many rows as ``negatives`` hold, one row at least. A label is a sample by popularity: the
    log of its expected count is subtracted from its score (logQ correction). Labels of a position's own history are no
    such samples, for they follow its user's taste, and do not count; nor do labels that are the position's own item.
    """

    def shared(labels):
        return labels[: max(negatives // labels.shape[1], 1)]

    def draw(batch, constants, key, table):
        sampled = shared(batch.labels).reshape(-1)
        log_share = log_shares(constants, sampled, table)
        never = jnp.inf  # padding is no sample
        return {"history": batch.items, "labels": batch.labels}, jnp.where(sampled >= 0, log_share, never)

    def loss(params, vectors, batch, drawn, key):
        users = recommender.user_vectors(params["history"], vectors["history"], batch, jax.random.fold_in(key, 0))
        sampled, items = shared(batch.labels).reshape(-1), shared(vectors["labels"])
        scores = recommender.scale * jnp.einsum("bld,md->blm", users, items.reshape(-1, items.shape[-1]))
        histories = _number_histories(batch.segments)
        others = histories[..., None] != shared(histories).reshape(-1)
        count = jnp.maximum((others & (sampled >= 0)).sum(-1, keepdims=True), 1)
        return losses.sampled_softmax(
            jnp.where(others, scores - jnp.log(count.astype(jnp.float32)), -jnp.inf),
            batch.labels,
            where=batch.labels >= 0,
            positive=recommender.scale * jnp.sum(users * vectors["labels"], -1),
            sampled=sampled,
            log_expected=drawn[1],
        )

    return NamedRows(tuple(map(Feature, ("history", "labels"))), draw, loss)


def _number_histories(segments: jax.Array) -> jax.Array:
    """A number for each history of a batch, int32 [B, L] (0 is padding) → int32 [B, L]."""
    rows, length = segments.shape
    return segments + (length + 1) * jnp.arange(rows)[:, None]


OVER_SAMPLES = {kind: partial(sampled, kind=kind) for kind in SAMPLED} | {"in_batch": in_batch}
"""Objectives by their names in a config: ``(recommender, negatives=M)``."""
