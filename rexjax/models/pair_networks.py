"""Networks of a user's and an item's vector (He et al. 2017), with a first layer that is split between the two.

The kernel of the first layer is ``[K_u; K_i]``, so that ``[p; q] @ K = p @ K_u + q @ K_i``. The two products are
computed once for each user and once for each item. Scores of B users and C items then add [B, 1, H] and [1, C, H].
"""

from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rexjax.models.scorer import USER, Query, Scorer
from rexjax.models.user_rows import take_users, users_of, users_of_batch

CHUNK_FLOATS = 1 << 22
"""Numbers of the first layer at a time: 16 MB."""


class ReluLayers(nn.Module):
    """Dense layers, each followed by a rectifier."""

    widths: tuple[int, ...]
    """Of each layer; (): what comes in goes out."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., H] → [..., last width]."""
        for number, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, name=str(number), precision="highest")(x))
        return x


def upper_layers(layers: ReluLayers, params: Any, output: jax.Array, first: jax.Array) -> jax.Array:
    """Logits [...] of the first layer's sums [..., H], before their rectifier.

    Args:
        layers: those above the first.
        params: of ``layers``.
        output: float32 [last width], the weights of the last layer's outputs.
        first: ``p @ K_u + q @ K_i + bias``.
    """
    return jnp.matmul(layers.apply({"params": params}, nn.relu(first)), output, precision="highest")


def network_scorer(state: dict[str, Any], widths: tuple[int, ...]) -> Scorer:
    """A scorer of ``f_u · f_i + network(h_u + h_i)``; an unknown user gets the items' popularity.

    Args:
        state: "users" and "items", each with "factors" float32 [U or N, D] (D may be 0) and "hidden" float32
            [U or N, H], and "known" bool [U]; "layers", the parameters of the layers above; "output" float32
            [last width]; "popularity" float32 [N].
        widths: of the layers above the first.
    """
    items = len(state["popularity"])
    return Scorer(state, _encode, _scores(widths), items, encode_positions=_encode_positions, reads=(USER,))


def _take(state: dict[str, Any], users: jax.Array) -> dict[str, jax.Array]:
    return {name: take_users(rows, jnp.zeros((), rows.dtype), users) for name, rows in state["users"].items()}


def _encode(state: dict[str, Any], query: Query) -> dict[str, jax.Array]:
    return _take(state, users_of(query))


def _encode_positions(state: dict[str, Any], batch: Any) -> dict[str, jax.Array]:
    return _take(state, users_of_batch(batch))


@cache  # equal widths share their function: it is static in jit, and a new one would compile again
def _scores(widths: tuple[int, ...]) -> Any:
    return partial(_score, ReluLayers(widths))


def _score(layers: ReluLayers, state: dict[str, Any], encoded: dict[str, jax.Array], ids: jax.Array) -> jax.Array:
    factors, hidden = (jnp.asarray(state["items"][name])[ids] for name in ("factors", "hidden"))
    popularity = jnp.asarray(state["popularity"])[ids]

    def score_user(user: dict[str, jax.Array]) -> jax.Array:
        logits = upper_layers(layers, state["layers"], jnp.asarray(state["output"]), user["hidden"] + hidden)
        logits += jnp.matmul(factors, user["factors"], precision="highest")
        return jnp.where(user["known"], logits, popularity)

    return jax.lax.map(score_user, encoded, batch_size=max(CHUNK_FLOATS // hidden.size, 1))
