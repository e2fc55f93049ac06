"""Cross-entropy over all rows of a sharded table: vocabulary-parallel, and without ever holding the logits.

Each device scores all tokens against its own rows (Shoeybi et al. 2019, Megatron-LM), a chunk of tokens at a time; only
the log of the normaliser is kept, and the backward pass computes each chunk's logits again (Wijmans et al. 2024, "Cut
Your Losses"). What crosses the wire is tokens × D, twice; what is computed is 4 × 2 × T × V / S × D operations.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

CHUNK_LOGITS = 1 << 20
"""Logits of one chunk on a device: 4 MB, about what a core's cache holds (measured: 4 to 8 MB are the fastest)."""

_LOWEST = jnp.finfo(jnp.float32).min


class Targets(NamedTuple):
    """What each token should score: K rows of the table with weights, which need not sum to one."""

    rows: jax.Array
    """int32 [T, K], as the table lies; -1 is padding."""
    weights: jax.Array
    """float32 [T, K]; no gradient flows to them."""


def one_label(labels: jax.Array) -> Targets:
    """One row for each token, int32 [T]; -1: none, and the token costs nothing."""
    return Targets(labels[:, None], (labels >= 0).astype(jnp.float32)[:, None])


def mixture(labels: jax.Array, lists: Targets, share: float) -> Targets:
    """``share`` parts of the lists [T, K] and the rest of the labels [T]; a token without label costs nothing."""
    label = one_label(labels)
    weights = jnp.concatenate([(1 - share) * label.weights, share * lists.weights * label.weights], 1)
    return Targets(jnp.concatenate([label.rows, lists.rows], 1), weights)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def cross_entropy(
    users: jax.Array, items: jax.Array, targets: Targets, real: jax.Array, scale: float, mesh: Mesh
) -> jax.Array:
    """``sum over k of weight × (log of the sum over real rows of exp(score) - score of the target)``, float32 [T].

    Args:
        users: float32 [T, D], over "data" (T is divided by it).
        items: float32 [P, D], over the whole mesh.
        targets: over "data".
        real: bool [P], False for rows that only pad.
        scale: scores are ``scale * users · items``.
        mesh: axes ("data", "model").
    """
    return _forward(users, items, targets, real, scale, mesh)[0]


def _forward(users, items, targets, real, scale, mesh):
    def local(users: jax.Array, items: jax.Array, targets: Targets, real: jax.Array) -> tuple[jax.Array, jax.Array]:
        users, targets = _gathered((users, targets))
        rows, inside = _own_rows(targets.rows, len(items))

        def chunk(part: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            users, rows, weights = part
            logits = _logits(users, items, real, scale)
            top = logits.max(1)
            scores = jnp.take_along_axis(logits, rows, 1, mode="clip")
            return top, jnp.exp(logits - top[:, None]).sum(1), (weights * scores).sum(1)

        parts = users, rows, jnp.where(inside, targets.weights, 0)
        top, total, scored = _in_chunks(chunk, parts, len(items))
        highest = jax.lax.pmax(top, mesh.axis_names)
        total = jax.lax.psum(total * jnp.exp(top - highest), mesh.axis_names)
        normaliser = highest + jnp.log(total)
        losses = targets.weights.sum(1) * normaliser - jax.lax.psum(scored, mesh.axis_names)
        return _own_part(losses, mesh), normaliser

    data, rows = PartitionSpec("data"), PartitionSpec(mesh.axis_names)
    run = jax.shard_map(
        local, mesh=mesh, in_specs=(data, rows, data, rows), out_specs=(data, PartitionSpec()), check_vma=False
    )
    losses, normaliser = run(users, items, targets, real)
    return losses, (users, items, targets, real, normaliser)


def _backward(scale: float, mesh: Mesh, residuals: Any, gradients: jax.Array) -> tuple[Any, ...]:
    def local(users, items, targets, real, normaliser, gradients):
        users, targets, gradients = _gathered((users, targets, gradients))
        rows, inside = _own_rows(targets.rows, len(items))

        def chunk(total: jax.Array, part: Any) -> tuple[jax.Array, jax.Array]:
            users, rows, weights, mass, normaliser = part
            slope = mass[:, None] * jnp.exp(_logits(users, items, real, scale) - normaliser[:, None])
            slope = scale * slope.at[jnp.arange(len(rows))[:, None], rows].add(-weights, mode="drop")
            return total + jnp.einsum("tv,td->vd", slope, users), slope @ items

        weights = jnp.where(inside, targets.weights, 0) * gradients[:, None]
        parts = users, rows, weights, gradients * targets.weights.sum(1), normaliser
        to_items, to_users = _scan_chunks(chunk, jnp.zeros_like(items), parts, len(items))
        to_users = jax.lax.psum_scatter(to_users, "data", tiled=True)
        return jax.lax.psum(to_users, "model"), to_items

    data, rows = PartitionSpec("data"), PartitionSpec(mesh.axis_names)
    run = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(data, rows, data, rows, PartitionSpec(), data),
        out_specs=(data, rows),
        check_vma=False,
    )
    to_users, to_items = run(*residuals, gradients)
    return to_users, to_items, None, None


cross_entropy.defvjp(_forward, _backward)


def _logits(users: jax.Array, items: jax.Array, real: jax.Array, scale: float) -> jax.Array:
    return jnp.where(real, scale * jnp.einsum("td,vd->tv", users, items), _LOWEST)


def _gathered(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.lax.all_gather(x, "data", tiled=True), tree)


def _own_part(x: jax.Array, mesh: Mesh) -> jax.Array:
    size = len(x) // mesh.shape["data"]
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index("data") * size, size)


def _own_rows(rows: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Targets as places in this device's shard (``size``, beyond it, where they lie elsewhere), and whether they do."""
    place = rows - jax.lax.axis_index(("data", "model")) * size
    inside = (place >= 0) & (place < size)
    return jnp.where(inside, place, size), inside


def _cut(parts: Any, tokens: int, size: int) -> Any:
    chunk = min(tokens, max(8, CHUNK_LOGITS // size))
    pad = -tokens % chunk
    return jax.tree.map(
        lambda x: jnp.pad(x, [(0, pad)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, chunk, *x.shape[1:]), parts
    )


def _in_chunks(fn: Any, parts: Any, size: int) -> Any:
    tokens = len(parts[0])
    found = jax.lax.map(fn, _cut(parts, tokens, size))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:tokens], found)


def _scan_chunks(fn: Any, carry: jax.Array, parts: Any, size: int) -> tuple[jax.Array, jax.Array]:
    tokens = len(parts[0])
    carry, found = jax.lax.scan(fn, carry, _cut(parts, tokens, size))
    return carry, found.reshape(-1, *found.shape[2:])[:tokens]
