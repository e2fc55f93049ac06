"""Anything that answers: an encoder of histories and the item rows it is compared with."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.embedding.quantized import dequantize_tree
from rexjax.embedding.rows import take
from rexjax.models.layers import normalize
from rexjax.models.pooled import PooledEncoder, contributions
from rexjax.models.recommender import Recommender
from rexjax.models.served import Served
from rexjax.retrieval.topk import top_k


class Scorer(NamedTuple):
    """``served`` is all that must be resident; ``encode`` is pure: (served, histories int32 [B, L'], times int32
    [B, L' + 1] or None) → float32 [B, D]."""

    encode: Callable[..., jax.Array]
    served: Served
    explain: Callable[..., jax.Array] | None = None
    """Pure: (served, histories int32 [B, L'], items int32 [B]) → float32 [B, L' + 1], what each event gave to the
    score, and the biases; None where the model has no such sum."""


def model(recommender: Recommender, served: Served) -> Scorer:
    """Teacher or student, in float32 or quantised."""

    def encode(served: Served, histories: jax.Array, times: jax.Array | None = None) -> jax.Array:
        vectors, mask = take(served.items, histories)
        return recommender.encode(dequantize_tree(served.history), vectors, mask, times)

    def explain(served: Served, histories: jax.Array, items: jax.Array) -> jax.Array:
        vectors, mask = take(served.items, histories)
        wanted = take(served.items, items[:, None])[0][:, 0]  # as it is scored: rounded, it is no unit vector any more
        return contributions(dequantize_tree(served.history), vectors, mask, wanted)

    pooled = isinstance(recommender.history, PooledEncoder) and not recommender.history.time
    return Scorer(encode, served, explain if pooled else None)


def popularity(counts: jax.Array) -> Scorer:
    """The same list for everybody: items by their number of training interactions, int [N]."""

    def encode(served: Served, histories: jax.Array, times: jax.Array | None = None) -> jax.Array:
        return jnp.ones((len(histories), 1))

    return Scorer(encode, Served(jnp.asarray(counts, jnp.float32)[:, None], ()))


def text_cosine(vectors: jax.Array) -> Scorer:
    """Items whose text is nearest to that of the user's latest item: text vectors float32 [N, W]."""

    def encode(served: Served, histories: jax.Array, times: jax.Array | None = None) -> jax.Array:
        return take(served.items, histories[:, -1:])[0][:, 0]

    return Scorer(encode, Served(normalize(jnp.asarray(vectors)), ()))


def answer(scorer: Scorer, k: int) -> Callable[..., Any]:
    """The whole request as one pure function: (served, histories [B, L'], exclude [B, S], times) → scores, ids [B, k].

    Times, int32 [B, L' + 1], are for models that read them.
    """

    def request(
        served: Served, histories: jax.Array, exclude: jax.Array, times: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        return top_k(scorer.encode(served, histories, times), served.items, k, exclude=exclude)

    return request
