"""A recommender: item vectors, user vectors, and the scores between them, as pure functions of parameters.

Models that are trained by gradients differ in their history encoder and in the scores (dot product or cosine). The item
table is no Linen parameter: modules only ever see rows of it, as ``params["rows"]``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.data.features.fitted import FeatureArray
from rexjax.embedding import rows
from rexjax.embedding.quantized import dequantize_tree
from rexjax.models.layers import Row, normalize
from rexjax.models.scorer import Query, Scorer
from rexjax.models.served import Served
from rexjax.models.user_features import TABLES, embed, init_tables

Params = dict[str, Any]


@dataclass(frozen=True)
class Recommender:
    """Hyper-parameters of one model; the functions below are pure."""

    items: nn.Module
    """The item side: ItemEncoder or ItemTower."""
    history: nn.Module
    """The user side: SequentialEncoder, PooledEncoder or UserTower."""
    cosine: bool
    """User and item vectors are normalised."""
    scale: float
    """Scores are multiplied by it in the loss (1 / temperature)."""
    activations: str = "float32"
    """In which the history encoder computes; parameters, norms' statistics, attention's softmax and what comes out are
    float32."""
    fake_quantize: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    """Fake quantisation of item vectors during training (``rexjax.compression``): (vectors float32 [V, D], what
    stands in place of their text float32 [V, W]) → float32 [V, D]."""
    prune: Callable[[Any], Any] | None = None
    """Pruning mask of the history encoder's parameters during training."""
    aligned: int = 0
    """Width of the teacher's item vectors that a learned projection of this model's approximates; 0: no projection."""
    user_features: tuple[FeatureArray, ...] = ()
    """User features that the history encoder reads; ``init`` needs their cardinalities."""

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
        if self.user_features:
            found["history"] = found["history"] | {TABLES: init_tables(self.user_features, width)}
        if self.aligned:
            projection = nn.initializers.lecun_normal()(jax.random.fold_in(key, 1), (width, self.aligned))
            found["aligned"] = {"kernel": projection}
        return found

    def item_vectors(self, params: Params, text: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Item vectors float32 [V, D], of ``params["rows"]``, which is [V, D], and text float32 [V, W].

        ``key`` is for modality dropout; none without it.
        """
        rngs = None if key is None else {"modalities": key}
        vectors = self.items.apply({"params": params["items"]}, params["rows"], text, rngs=rngs)
        vectors = normalize(vectors) if self.cosine else vectors
        return self.fake_quantize(vectors, text) if self.fake_quantize else vectors

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
        history = self.prune(history) if self.prune else history
        vectors = vectors + embed(history.get(TABLES, {}), row.features)
        history = {name: part for name, part in history.items() if name != TABLES}
        history, vectors = jax.tree.map(lambda x: x.astype(self.activations), (history, vectors))
        users = self.history.apply({"params": history}, vectors, row, key is None, last, rngs=rngs).astype(jnp.float32)
        return normalize(users) if self.cosine else users

    def encode(
        self,
        history: Any,
        vectors: jax.Array,
        mask: jax.Array,
        times: jax.Array | None = None,
        features: Mapping[str, jax.Array] | None = None,
    ) -> jax.Array:
        """User vectors after whole histories: float32 [B, L', D], mask bool [B, L'], latest last → float32 [B, D].

        L' may be shorter than the longest history L: positions count from the end. ``times`` int32 [B, L' + 1] are
        those of the events and of the question, for models that read them; without, all is one moment. ``features``
        [B, ...] are those of users; a feature that is not there adds nothing.
        """
        users, width = mask.shape  # B may be symbolic: an exported program takes any
        positions = jnp.broadcast_to(self.history.length - width + jnp.arange(width), mask.shape)
        times = jnp.zeros((users, width + 1), jnp.int32) if times is None else times
        known = {name: value[:, None] for name, value in (features or {}).items()}
        whole = Row(mask.astype(jnp.int32), positions, jnp.stack([times[:, :-1], times[:, 1:]], -1), known)
        return self.user_vectors(history, vectors, whole, last=1)[:, 0]


def serve(recommender: Recommender, params: Params, text: jax.Array, items: int) -> Served:
    """Folds the item side of trained parameters (rows [≥ N, D] by item id, text [≥ N, W]) into one matrix [N, D]."""
    return Served(
        _item_vectors(recommender, params | {"rows": params["rows"][:items]}, text[:items]), params["history"]
    )


@partial(jax.jit, static_argnums=0)  # of the model, not of a method of it: that is another object each time
def _item_vectors(recommender: Recommender, params: Params, text: jax.Array) -> jax.Array:
    return recommender.item_vectors(params, text)


def scorer_of(
    recommender: Recommender, served: Served | None, items: int = 0, explain: Callable[..., jax.Array] | None = None
) -> Scorer:
    """A trained model as it answers, in float32 or quantised.

    Args:
        recommender: its functions; equal ones share theirs, so that nothing is compiled twice.
        served: its arrays; None: they are put in later, with ``dataclasses.replace``.
        items: N.
        explain: see ``Scorer.explain``.
    """
    encode, encode_positions = _encoders(recommender)
    return Scorer(
        served,
        encode,
        _score,
        items,
        vectors=item_rows,
        encode_positions=encode_positions,
        explain=explain,
        scale=recommender.scale,
        reads=tuple(feature.name for feature in recommender.user_features),
    )


@lru_cache(256)
def _encoders(recommender: Recommender) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    def encode(served: Served, query: Query) -> jax.Array:
        vectors, mask = rows.take(served.items, query.histories)
        return recommender.encode(dequantize_tree(served.history), vectors, mask, query.times, query.features)

    def encode_positions(served: Served, batch: Any) -> jax.Array:
        vectors, _ = rows.take(served.items, batch.items)
        return recommender.user_vectors(dequantize_tree(served.history), vectors, batch)

    return encode, encode_positions


def _score(served: Served, users: jax.Array, ids: jax.Array) -> jax.Array:
    return rows.score(users, rows.at(served.items, ids))


def item_rows(served: Served) -> Any:
    """The item rows [N, D] of a trained model's state."""
    return served.items
