"""Cross-entropy over all rows of a sharded table: vocabulary-parallel, and without ever holding the logits.

Each device scores all tokens against its own rows (Shoeybi et al. 2019, Megatron-LM), a chunk of tokens at a time. The
gradients are made in the same pass, while a chunk's logits are there: three products of 2 × T × V / S × D operations.
(Keeping the normaliser alone and computing the logits again for the backward pass, as Wijmans et al. 2024, "Cut Your
Losses", takes four.) So the loss is one number: what comes back for it can only scale those gradients. What crosses the
wire is tokens × D, twice, and a number per token.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from rexjax.runtime.arguments import check_integers, check_mesh, check_rank, check_shape

CHUNK_LOGITS = 1 << 22
"""Logits of one chunk on a device: 16 MB (on a CPU 12,101 rows take 43 ms; 48 with 8 MB, 49 with 32)."""
LEAST_TOKENS = 64
"""In a chunk, however many rows a device has."""

_LOWEST = jnp.finfo(jnp.float32).min


class Targets(NamedTuple):
    """What each token should score: K rows of the table with weights, which need not sum to one."""

    rows: jax.Array
    """int32 [T, K], as the table lies; -1 is padding."""
    weights: jax.Array
    """float32 [T, K]; no gradient flows to them."""


class _ToItems(NamedTuple):
    """The gradient to a device's rows in two parts, each as its sums are the fastest."""

    by_row: jax.Array
    """float32 [P / S, D], of targets: added row by row."""
    by_column: jax.Array
    """float32 [D, P / S], of all rows: on a CPU the product with few long rows takes three fifths of the time of the
    one with many short ones (12,101 × 64: 2.7 against 4.5 ms for 534 tokens)."""


def one_label(labels: jax.Array) -> Targets:
    """One row for each token, int32 [T]; -1: none, and the token costs nothing.

    >>> import jax.numpy as jnp
    >>> one_label(jnp.asarray([4, -1])).weights.tolist()
    [[1.0], [0.0]]
    """
    check_integers("labels", labels)
    check_rank("labels", labels, "[T]")
    return Targets(labels[:, None], (labels >= 0).astype(jnp.float32)[:, None])


def mixture(labels: jax.Array, lists: Targets) -> Targets:
    """Mixes soft and hard targets: lists [T, K] keep their weights, and each label [T] gets what is left of 1.

    Tokens with label -1 have no loss.

    >>> import jax.numpy as jnp
    >>> lists = Targets(jnp.asarray([[2, 5]]), jnp.asarray([[0.5, 0.25]]))
    >>> targets = mixture(jnp.asarray([4]), lists)
    >>> targets.rows.tolist(), targets.weights.tolist()
    ([[4, 2, 5]], [[0.25, 0.5, 0.25]])
    """
    label = one_label(labels)
    check_shape("lists.rows", lists.rows, (*labels.shape, *lists.rows.shape[-1:]), "labels")
    check_shape("lists.weights", lists.weights, lists.rows.shape, "lists.rows")
    left = label.weights - lists.weights.sum(1, keepdims=True) * label.weights
    return Targets(
        jnp.concatenate([label.rows, lists.rows], 1), jnp.concatenate([left, lists.weights * label.weights], 1)
    )


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def cross_entropy(
    users: jax.Array, items: jax.Array, targets: Targets, real: jax.Array | None, scale: float, mesh: Mesh
) -> jax.Array:
    """``sum of weight × (log of the sum over real rows of exp(score) - score of the target)``, float32 scalar.

    Args:
        users: float32 [T, D], over "data" (T is divided by it).
        items: float32 [P, D], over the whole mesh.
        targets: over "data".
        real: bool [P], False for rows that only pad; None: there are none (a pass over the logits less).
        scale: scores are ``scale * users · items``.
        mesh: axes ("data", "model").

    Raises:
        TypeError: target rows that are no integers, or ``mesh`` is no Mesh.
        ValueError: shapes that do not fit or that the mesh does not divide, or a mesh with other axes.

    >>> import jax.numpy as jnp
    >>> from rexjax import make_mesh
    >>> users, items = jnp.ones((1, 2)), jnp.zeros((4, 2))
    >>> loss = cross_entropy(users, items, one_label(jnp.asarray([3])), None, 1.0, make_mesh(1))
    >>> round(float(loss), 4)  # log 4
    1.3863
    """
    return _forward(users, items, targets, real, scale, mesh)[0]


def _forward(users, items, targets, real, scale, mesh):
    """The loss, and its gradients to users and items."""
    _check(users, items, targets, real, mesh)
    targets = targets._replace(weights=targets.weights.astype(users.dtype))

    def local(users: jax.Array, items: jax.Array, targets: Targets, real: jax.Array | None) -> tuple[jax.Array, Any]:
        users, targets = _gathered((users, targets))
        rows, inside = _own_rows(targets.rows, len(items))

        def chunk(carry: _ToItems, part: Any) -> tuple[_ToItems, tuple[jax.Array, jax.Array]]:
            users, rows, weights, mass = part
            logits = scale * jnp.einsum("td,vd->tv", users, items)
            logits = logits if real is None else jnp.where(real, logits, _LOWEST)
            top = jax.lax.pmax(logits.max(1), mesh.axis_names)
            exps = jnp.exp(logits - top[:, None])
            total = jax.lax.psum(exps.sum(1), mesh.axis_names)
            wanted = jnp.einsum("tk,tkd->td", weights, jnp.take(items, rows, axis=0, mode="fill", fill_value=0))
            scored = scale * jnp.sum(users * wanted, 1)
            share = scale * (mass / total)[:, None]
            to_users = share * (exps @ items) - scale * wanted
            by_row = carry.by_row.at[rows].add(-scale * weights[..., None] * users[:, None], mode="drop")
            by_column = carry.by_column + jnp.einsum("td,tv->dv", share * users, exps)
            first = jax.lax.axis_index(mesh.axis_names) == 0  # the normaliser is known to all devices, and counts once
            return _ToItems(by_row, by_column), (jnp.where(first, mass * (top + jnp.log(total)), 0) - scored, to_users)

        parts = users, rows, jnp.where(inside, targets.weights, 0), targets.weights.sum(1)
        carry = _ToItems(jnp.zeros_like(items), jnp.zeros_like(items.T))
        to_items, (losses, to_users) = _scan_chunks(chunk, carry, parts)
        to_users = jax.lax.psum(jax.lax.psum_scatter(to_users, "data", tiled=True), "model")
        return jax.lax.psum(losses.sum(), mesh.axis_names), (to_users, to_items.by_row + to_items.by_column.T)

    data, rows = PartitionSpec("data"), PartitionSpec(mesh.axis_names)
    out = PartitionSpec(), (data, rows)
    run = jax.shard_map(local, mesh=mesh, in_specs=(data, rows, data, rows), out_specs=out, check_vma=False)
    return run(users, items, targets, real)


def _backward(scale: float, mesh: Mesh, gradients: Any, factor: jax.Array) -> tuple[Any, ...]:
    to_users, to_items = gradients
    return factor * to_users, factor * to_items, None, None


cross_entropy.defvjp(_forward, _backward)


def _check(users: jax.Array, items: jax.Array, targets: Targets, real: jax.Array | None, mesh: Mesh) -> None:
    check_mesh("mesh", mesh, ("data", "model"))
    check_rank("users", users, "[T, D]")
    check_rank("items", items, "[P, D]")
    check_shape("items", items, (len(items), users.shape[1]), "users")
    check_integers("targets.rows", targets.rows)
    check_shape("targets.rows", targets.rows, (len(users), *targets.rows.shape[-1:]), "users")
    check_shape("targets.weights", targets.weights, targets.rows.shape, "targets.rows")
    if real is not None:
        check_shape("real", real, (len(items),), "items")
    for name, size, devices in ("users", len(users), mesh.shape["data"]), ("items", len(items), mesh.size):
        if size % devices:
            raise ValueError(f"{name} has {size} rows: pad them to a multiple of the {devices} devices they lie over")


def _gathered(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.lax.all_gather(x, "data", tiled=True), tree)


def _own_rows(rows: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Targets as places in this device's shard (``size``, beyond it, where they lie elsewhere), and whether they do."""
    place = rows - jax.lax.axis_index(("data", "model")) * size
    inside = (place >= 0) & (place < size)
    return jnp.where(inside, place, size), inside


def _scan_chunks(fn: Any, carry: _ToItems, parts: Any) -> tuple[jax.Array, Any]:
    """``fn(carry, part)`` for chunks of tokens; tokens that fill the last one are zeros."""
    tokens = len(parts[0])
    most = max(LEAST_TOKENS, CHUNK_LOGITS // len(carry.by_row))
    chunk = -(-tokens // -(-tokens // most))  # evenly: next to no padding

    def cut(x):
        return jnp.pad(x, [(0, -tokens % chunk)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, chunk, *x.shape[1:])

    carry, found = jax.lax.scan(fn, carry, jax.tree.map(cut, parts))
    return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:tokens], found)
