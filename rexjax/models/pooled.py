"""The student: a history pooled by learned recency profiles, then a small MLP; there is no attention."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rexjax.models.layers import BUCKETS, Dropout, Row, causal_chunks, causal_mask, time_bucket


class PooledEncoder(nn.Module):
    """``mean over the history + MLP(history pooled by K kernels)``; a kernel weighs an item by its recency: by how many
    events lie between, and how much time if ``time`` says so."""

    kernels: int
    """Recency profiles K."""
    hidden: int
    """Width of the hidden layer."""
    dropout: float
    """Dropped share of the hidden layer."""
    length: int
    """The longest history, L."""
    time: bool = False
    """Ages in time count too."""

    @nn.compact
    def __call__(self, x: jax.Array, row: Row, deterministic: bool, last: int | None = None) -> jax.Array:
        """Item vectors float32 [B, L, D] → user vectors float32 [B, L, D].

        With ``last`` only those of the last Q positions, [B, Q, D], in O(Q L D).
        """
        decay = self.param("decay", recency_profiles, (self.kernels, self.length))
        ages = self.param("times", nn.initializers.zeros, (self.kernels, BUCKETS)) if self.time else None
        pooled = pool_by_recency(decay, ages, x, row, last or x.shape[1])
        hidden = nn.gelu(nn.Dense(self.hidden, name="up")(self.known(pooled, x, row)))
        hidden = Dropout(self.dropout)(hidden, deterministic)
        return pooled[:, :, 0] + nn.Dense(x.shape[-1], name="down")(hidden)

    def known(self, pooled: jax.Array, x: jax.Array, row: Row) -> jax.Array:
        """What the MLP reads, of the pooled history [B, Q, K, D] and the item vectors [B, L, D]: [B, Q, K D]."""
        return pooled.reshape(*pooled.shape[:2], -1)


def recency_profiles(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Log-weights [K, L] by age: exponential decays with half-lives from one item to the whole history."""
    kernels, length = shape
    half_lives = jnp.geomspace(1.0, length, kernels)
    return -jnp.log(2.0) * jnp.arange(length) / half_lives[:, None]


def pool_by_recency(decay: jax.Array, ages: jax.Array | None, x: jax.Array, row: Row, queries: int) -> jax.Array:
    """Weighted means of the histories up to the last Q = ``queries`` positions of packed rows, in O(Q L K D).

    Args:
        decay: float32 [K, ≥ L], log-weights of an item by the number of events since.
        ages: float32 [K, BUCKETS], log-weights by the time since, see ``time_bucket``; None: time does not count.
        x: float32 [B, L, D], item vectors.
        row: of the same positions.
        queries: Q.

    Returns:
        float32 [B, Q, K, D].
    """
    length, found = x.shape[1], []
    mask, profiles = causal_mask(row.segments)[:, -queries:], jnp.exp(decay)
    for own, seen in causal_chunks(queries, length):
        # a history lies in one piece, so that what lies between two of its events are places between two columns
        between = np.arange(length - queries, length)[own, None] - np.arange(seen)
        # [B, Q', K, seen]: the product then lies as the MLP reads it
        weights = jnp.take(profiles, between, axis=1, mode="clip").swapaxes(0, 1) * mask[:, own, None, :seen]
        if ages is not None:
            passed = row.times[:, -queries:, None, 0][:, own] - row.times[:, None, :seen, 0]
            weights *= jnp.exp(jnp.take(ages, time_bucket(passed), axis=1, mode="clip")).transpose(1, 2, 0, 3)
        mass = jnp.maximum(weights.sum(-1, keepdims=True), 1e-9)
        found.append(jnp.einsum("bqkm,bmd->bqkd", weights, x[:, :seen]) / mass)
    return jnp.concatenate(found, 1)


def contributions(history: Any, vectors: jax.Array, mask: jax.Array, items: jax.Array) -> jax.Array:
    """What each event of a history gave to an item's score (its cosine, of unit vectors); the sum is the score.

    Pooling is a sum over events, and so is the MLP once its activation is written as ``gelu(h) = gate(h) · h`` with the
    gates that the whole history opened: nothing is approximated.

    Args:
        history: parameters of a ``PooledEncoder`` without ages in time.
        vectors: float32 [B, L, D], the items' vectors, latest last.
        mask: bool [B, L].
        items: float32 [B, D], as they are scored.

    Returns:
        float32 [B, L + 1]; the last is what the biases gave, whatever the history.
    """
    up, down = history["up"], history["down"]
    weights = jnp.exp(history["decay"][:, : mask.shape[1]][:, ::-1])[None] * mask[:, None]  # [B, K, L]
    weights = weights / jnp.maximum(weights.sum(-1, keepdims=True), 1e-9)
    parts = weights.swapaxes(1, 2)[..., None] * vectors[:, :, None]  # [B, L, K, D]
    before = jnp.einsum("blkd,kdh->blh", parts, up["kernel"].reshape(*parts.shape[2:], -1))
    whole = before.sum(1) + up["bias"]
    gates = jnp.where(whole == 0, 0.5, nn.gelu(whole) / jnp.where(whole == 0, 1, whole))
    given = parts[:, :, 0] + (gates[:, None] * before) @ down["kernel"]
    always = (gates * up["bias"]) @ down["kernel"] + down["bias"]
    given = jnp.concatenate([given, always[:, None]], 1)
    return jnp.einsum("bld,bd->bl", given, items) / jnp.maximum(jnp.linalg.norm(given.sum(1), axis=-1), 1e-9)[:, None]
