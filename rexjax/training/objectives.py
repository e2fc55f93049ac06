"""What a training step minimises.

An objective reads either the whole item table (``WholeTable``: a full softmax needs every row, and every row moves) or
only the rows that a batch names (``NamedRows``: the cost of a step does not depend on the number of items).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax import losses
from rexjax.config import Teacher
from rexjax.embedding import softmax
from rexjax.embedding import table as tables
from rexjax.embedding.bags import Feature
from rexjax.models.recommender import Recommender
from rexjax.training.catalogue import draw_evenly, draw_popular


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


def of_teacher(recommender: Recommender, config: Teacher) -> Objective:
    """What the config names."""
    if config.loss == "full_softmax":
        return full_softmax(recommender)
    return sampled(recommender, config.loss, config.negatives)


def full_softmax(recommender: Recommender) -> Objective:
    """Cross-entropy of the next item over the whole catalogue."""
    return _over_all_items(recommender, lambda labels, *_: softmax.one_label(labels))


def distilled(recommender: Recommender, list_weight: float) -> Objective:
    """Cross-entropy to ``list_weight`` parts of the teacher's list and the rest of the label."""

    def targets(labels, lists, table, mesh):
        rows = tables.physical(lists.items.reshape(len(labels), -1), table, mesh)
        return softmax.mixture(labels, softmax.Targets(rows, lists.weights.reshape(rows.shape)), list_weight)

    return _over_all_items(recommender, targets)


def _over_all_items(recommender: Recommender, targets: Callable[..., softmax.Targets]) -> Objective:
    """The mean over labels; ``targets(labels [T] as the table lies, lists, table, mesh)``."""

    def loss(params, batch, lists, constants, key, table, mesh):
        items = recommender.item_vectors(params, constants.text)
        vectors = tables.look_up(items, batch.items, table, mesh)
        users = recommender.user_vectors(params["history"], vectors, batch, key)
        users = users.reshape(-1, users.shape[-1])
        labels = tables.physical(batch.labels.reshape(-1), table, mesh)
        wanted = targets(labels, lists, table, mesh)
        real = constants.real if tables.padded(table, mesh) > table.rows else None
        total = softmax.cross_entropy(users, items, wanted, real, recommender.scale, mesh)
        return total / jnp.maximum((labels >= 0).sum(), 1)

    return WholeTable(loss)


def sampled(recommender: Recommender, kind: str, negatives: int) -> Objective:
    """A loss over the next item and M drawn items that the batch shares; ``kind`` is one of ``losses.SAMPLED``.

    Sampled softmax draws by popularity (and corrects for it), the others evenly, as their papers do.
    """
    draw_items = draw_popular if kind == "sampled_softmax" else draw_evenly

    def draw(batch, constants, key, table):
        drawn, log_share = draw_items(constants, jax.random.fold_in(key, 1), negatives, table)
        return {"history": batch.items, "labels": batch.labels, "sampled": drawn}, log_share

    def loss(params, vectors, batch, drawn, key):
        ids, log_share = drawn
        users = recommender.user_vectors(params["history"], vectors["history"], batch, jax.random.fold_in(key, 0))
        return losses.SAMPLED[kind](
            recommender.scale * jnp.einsum("bld,md->blm", users, vectors["sampled"]),
            batch.labels,
            where=batch.labels >= 0,
            positive=recommender.scale * jnp.sum(users * vectors["labels"], -1),
            sampled=ids["sampled"],
            log_expected=jnp.log(float(negatives)) + log_share,
        )

    return NamedRows(tuple(map(Feature, ("history", "labels", "sampled"))), draw, loss)
