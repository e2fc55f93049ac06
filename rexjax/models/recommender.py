"""A recommender: item vectors, user vectors, and the scores between them, as pure functions of parameters.

Teacher and student differ in their history encoder and in the scores (dot product or cosine), in nothing else. The
item table is no Linen parameter: modules only ever see rows of it, as ``params["rows"]``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.config.schema import Student, Teacher, Training
from rexjax.embedding.bags import Feature
from rexjax.embedding.optimizers import OPTIMIZERS, schedule
from rexjax.embedding.table import Table
from rexjax.models.items import ItemEncoder
from rexjax.models.layers import Row, normalize
from rexjax.models.pooled import PooledEncoder
from rexjax.models.sequential import Ensemble, SequentialEncoder, member_name

Params = dict[str, Any]

_PROFILES = 8
"""Recency profiles of a teacher's pooled member; its hidden layer is twice as wide as its vectors."""
_POOLED_TEMPERATURE = 0.1
"""Of its cosines, unless the teacher has one."""


class Served(NamedTuple):
    """What answers users: the item side folded into one matrix, and the history encoder's parameters."""

    items: Any
    """float32 [N, D] (or rows quantised by ``rexjax.compression``)."""
    history: Any
    """Parameters of the history encoder."""


@dataclass(frozen=True)
class Recommender:
    """Hyper-parameters of one model; the functions below are pure."""

    items: ItemEncoder
    """The item side."""
    history: nn.Module
    """SequentialEncoder or PooledEncoder."""
    cosine: bool
    """User and item vectors are normalised."""
    scale: float
    """Scores are multiplied by it in the loss (1 / temperature)."""
    activations: str = "float32"
    """In which the history encoder computes; parameters, norms' statistics, attention's softmax and what comes out are
    float32."""
    rounding: Callable[[jax.Array], jax.Array] | None = None
    """What item vectors go through last, where training is to know how they will be kept (``rexjax.compression``)."""
    thinning: Callable[[Any], Any] | None = None
    """What the history encoder's parameters go through first, likewise."""
    aligned: int = 0
    """Width of the vectors that a learned projection of the items' is to resemble in training; 0: there is none."""

    def init(self, key: jax.Array, text_width: int) -> Params:
        """Dense parameters boxed with their logical axes, for text vectors of W; the item rows are no part of them."""
        item_key, history_key = jax.random.split(key)
        width, length = self.items.width, self.history.length
        vectors, ones = jnp.zeros((1, length, width)), jnp.ones((1, length), jnp.int32)
        row = Row(ones, ones, jnp.zeros((1, length, 2), jnp.int32))
        found = {
            "items": self.items.init(item_key, vectors[0, :1], jnp.zeros((1, text_width))).get("params", {}),
            "history": self.history.init(history_key, vectors, row, True)["params"],
        }
        if self.aligned:
            projection = nn.initializers.lecun_normal()(jax.random.fold_in(key, 1), (width, self.aligned))
            found["aligned"] = {"kernel": projection}
        return found

    def table(self, rows: int, config: Training, sparse: bool, features: tuple[Feature, ...] = ()) -> Table:
        """The item table's declaration, for ``rows`` items of which a step moves all or (``sparse``) some.

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
            self.items.width,
            chosen.dtype,
            features=features,
            optimizer=rule,
            sparse=sparse,
            capacity=chosen.capacity,
        )

    def item_vectors(self, params: Params, text: jax.Array) -> jax.Array:
        """Item vectors: params["rows"] [V, D] and text float32 [V, W] → float32 [V, D]."""
        vectors = self.items.apply({"params": params["items"]}, params["rows"], text)
        vectors = normalize(vectors) if self.cosine else vectors
        return self.rounding(vectors) if self.rounding else vectors

    def user_vectors(
        self, history: Any, vectors: jax.Array, row: Any, key: jax.Array | None = None, last: int | None = None
    ) -> jax.Array:
        """User vectors at the positions of packed rows.

        Args:
            history: parameters of the history encoder.
            vectors: float32 [B, L, D], the items' vectors.
            row: what the encoder must know of them, a ``Row`` or a ``Batch``.
            key: for dropout; none without it.
            last: only at the last Q positions.

        Returns:
            float32 [B, L, D] or [B, Q, D].
        """
        rngs = None if key is None else {"dropout": key}
        history = self.thinning(history) if self.thinning else history
        history, vectors = jax.tree.map(lambda x: x.astype(self.activations), (history, vectors))
        users = self.history.apply({"params": history}, vectors, row, key is None, last, rngs=rngs).astype(jnp.float32)
        return normalize(users) if self.cosine else users

    def encode(self, history: Any, vectors: jax.Array, mask: jax.Array, times: jax.Array | None = None) -> jax.Array:
        """User vectors after whole histories: float32 [B, L', D], mask bool [B, L'], latest last → float32 [B, D].

        L' may be shorter than the longest history L: positions count from the end. ``times`` int32 [B, L' + 1] are
        those of the events and of the question, for models that read them; without, all is one moment.
        """
        users, width = mask.shape  # B may be symbolic: an exported program takes any
        positions = jnp.broadcast_to(self.history.length - width + jnp.arange(width), mask.shape)
        times = jnp.zeros((users, width + 1), jnp.int32) if times is None else times
        whole = Row(mask.astype(jnp.int32), positions, jnp.stack([times[:, :-1], times[:, 1:]], -1))
        return self.user_vectors(history, vectors, whole, last=1)[:, 0]


def member(config: Teacher, length: int, number: int = 0) -> Recommender:
    """What is trained as teacher: a transformer whose scores are dot products, or cosines where there is a temperature;
    or a pooled history, always with cosines."""
    block = config.blocks[number % len(config.blocks)]
    temperature = config.temperature or (_POOLED_TEMPERATURE if block == "pooled" else 0)
    history: nn.Module = SequentialEncoder(config.layers, config.heads, config.dropout, length, block, config.time)
    if block == "pooled":
        history = PooledEncoder(_PROFILES, 2 * config.width, config.dropout, length, config.time != "none")
    items = ItemEncoder(config.width, config.fusion)
    scale = 1 / temperature if temperature else 1.0
    return Recommender(items, history, cosine=temperature > 0, scale=scale, activations=config.activations)


def teacher(config: Teacher, length: int) -> Recommender:
    """The whole teacher: one member, or several side by side whose scores are averaged (see ``side_by_side``)."""
    members = [member(config, length, number) for number in range(config.members)]
    if config.members == 1:
        return members[0]
    scales = tuple(one.scale if one.cosine else None for one in members)
    history = Ensemble(tuple(one.history for one in members), scales)
    items = ItemEncoder(config.members * config.width, config.fusion)
    return Recommender(items, history, cosine=False, scale=1 / config.members, activations=config.activations)


def side_by_side(members: list[Served]) -> Served:
    """Members as they are served, as one."""
    if len(members) == 1:
        return members[0]
    history = {member_name(number): served.history for number, served in enumerate(members)}
    return Served(jnp.concatenate([served.items for served in members], 1), history)


def served_width(config: Teacher) -> int:
    """Of the whole teacher's vectors."""
    return config.members * config.width


def student(config: Student, length: int, teacher_width: int = 0) -> Recommender:
    """The student: pooled history or a small transformer, cosine scores.

    With ``teacher_width`` as it is trained (it may be aligned with its teacher), else as it is served.
    """
    history: nn.Module = PooledEncoder(config.kernels, config.hidden, config.dropout, length, config.time != "none")
    if config.encoder != "pooled":
        history = SequentialEncoder(config.layers, config.heads, config.dropout, length, config.encoder, config.time)
    aligned = teacher_width if config.alignment_weight else 0
    return Recommender(ItemEncoder(config.width), history, True, 1 / config.temperature, aligned=aligned)


def serve(recommender: Recommender, params: Params, text: jax.Array, items: int) -> Served:
    """Folds the item side of trained parameters (rows [≥ N, D] by item id, text [≥ N, W]) into one matrix [N, D]."""
    return Served(
        _item_vectors(recommender, params | {"rows": params["rows"][:items]}, text[:items]), params["history"]
    )


@partial(jax.jit, static_argnums=0)  # of the model, not of a method of it: that is another object each time
def _item_vectors(recommender: Recommender, params: Params, text: jax.Array) -> jax.Array:
    return recommender.item_vectors(params, text)


def gather(items: jax.Array, histories: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows of items [N, D] for histories int32 [B, L] (-1 is padding): vectors [B, L, D] and mask bool [B, L]."""
    mask = histories >= 0
    # fill: an id beyond the table gives zeros here and is refused at the edge; the default would clamp (jax#9839)
    vectors = jnp.take(items, jnp.where(mask, histories, 0), axis=0, mode="fill", fill_value=0)
    return vectors * mask[..., None], mask
