"""Scores and top-k under jit, for rows in float32, int8 or int4; seen items are excluded inside."""

from typing import Any

import jax
import jax.numpy as jnp

from rexjax.compression.quantize import QuantizedRows, dequantize, numbers
from rexjax.models.recommender import gather


def take(items: Any, histories: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Vectors of histories int32 [B, L] (-1 is padding) from rows [N, D]: float32 [B, L, D] and mask bool [B, L]."""
    if isinstance(items, QuantizedRows):
        scales, mask = gather(items.scales, histories)
        return dequantize(QuantizedRows(gather(items.values, histories)[0], scales)), mask
    return gather(items, histories)


def score(queries: jax.Array, items: Any) -> jax.Array:
    """float32 [B, D] · rows [N, D] → float32 [B, N]; quantised rows are read as they are, and scaled after."""
    if isinstance(items, QuantizedRows):
        products = jnp.einsum("bd,nd->bn", queries, numbers(items), precision="highest")
        return products * items.scales[:, 0]
    return jnp.einsum("bd,nd->bn", queries, items, precision="highest")


def top_k(queries: jax.Array, items: Any, k: int, *, exclude: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """The k best items of each query, exact.

    Args:
        queries: float32 [B, D].
        items: float32 [N, D] or QuantizedRows; dense ids are hashes, so an order by id is an arbitrary one.
        k: at most N.
        exclude: int32 [B, S] item ids that may not be answered, padded with -1.

    Returns:
        scores float32 [B, k], falling, and ids int32 [B, k]; equal scores come in the order of dense ids; where fewer
        than k items are left, the score is -inf.
    """
    scores = score(queries, items)
    if exclude is not None:
        at = jnp.where(exclude >= 0, exclude, scores.shape[1])
        scores = scores.at[jnp.arange(len(scores))[:, None], at].set(-jnp.inf, mode="drop")
    return jax.lax.top_k(scores, k)
