"""The axes of a pooled model's vectors: rotated, ordered by importance, and left out."""

import jax
import jax.numpy as jnp

from rexjax.models.layers import normalize
from rexjax.models.served import Served


def by_importance(student: Served) -> Served:
    """The pooled student in a basis whose dimensions come in the order of what they add: any prefix is usable.

    The items' principal directions become the axes. Items are float32 [N, D].
    """
    _, basis = jnp.linalg.eigh(jnp.matmul(student.items.T, student.items, precision="highest"))
    return turn(student, basis[:, ::-1])  # largest first


def evenly(student: Served) -> Served:
    """The pooled student in a basis drawn at random, always the same one: no dimension is larger than the others, so
    that one scale a row suits all of its entries (as in QuaRot, Ashkboos et al. 2024)."""
    width = student.items.shape[1]
    basis, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (width, width)))
    return turn(student, basis)


def turn(student: Served, basis: jax.Array) -> Served:
    """The pooled student in the axes ``basis``, orthonormal columns [D, D].

    Cosines do not change when all vectors are turned alike; the turn is folded into the encoder's two matrices.
    """
    up, down = student.history["up"], student.history["down"]
    blocks = up["kernel"].reshape(-1, len(basis), up["kernel"].shape[1])  # [K, D, hidden]
    kernel = jnp.einsum("de,kdh->keh", basis, blocks, precision="highest").reshape(up["kernel"].shape)
    history = student.history | {
        "up": up | {"kernel": kernel},
        "down": {"kernel": _turned(down["kernel"], basis), "bias": _turned(down["bias"], basis)},
    }
    return Served(_turned(student.items, basis), history)


def _turned(x: jax.Array, basis: jax.Array) -> jax.Array:
    return jnp.matmul(x, basis, precision="highest")


def narrow(student: Served, width: int) -> Served:
    """The first ``width`` dimensions of a pooled student; items keep their lengths."""
    wide = student.items.shape[1]
    up, down = student.history["up"], student.history["down"]
    hidden = up["kernel"].shape[1]
    kernel = up["kernel"].reshape(-1, wide, hidden)[:, :width].reshape(-1, hidden)
    history = student.history | {
        "up": up | {"kernel": kernel},
        "down": {"kernel": down["kernel"][:, :width], "bias": down["bias"][:width]},
    }
    lengths = jnp.linalg.norm(student.items, axis=1, keepdims=True)
    return Served(normalize(student.items[:, :width]) * lengths, history)
