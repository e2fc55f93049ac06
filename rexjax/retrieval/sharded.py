"""Exact top-k of items that lie over a mesh: each device answers for its own, and k pairs a query are exchanged.

Each device sends its k best of each query to the device that merges that query, and the merged lists go to all: B × k
pairs out and in, whatever the number of items or devices.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rexjax.embedding import rows as reading
from rexjax.embedding.row_format import by_field, map_rows
from rexjax.retrieval import topk
from rexjax.runtime.arguments import check_id_range, check_mesh, check_shape


def place(items: Any, mesh: Mesh) -> Any:
    """Item rows [N, D], as they are kept, over all devices of the mesh: the first N / S on the first one, and so on;
    what all rows share lies on every device.

    Rows of zeros fill up what the devices do not divide (``top_k`` is told N).

    Raises:
        TypeError: ``mesh`` is no Mesh.
        ValueError: an axis of the mesh is not Auto.

    >>> import jax.numpy as jnp
    >>> from rexjax import make_mesh
    >>> place(jnp.ones((3, 2)), make_mesh(1)).shape
    (3, 2)
    """
    check_mesh("mesh", mesh)
    short = -reading.count(items) % mesh.size
    over, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((mesh.axis_names,), ()))

    def pad(leaf):
        return jnp.pad(leaf, ((0, short), (0, 0)))

    return jax.device_put(map_rows(pad, items) if short else items, by_field(items, over, everywhere))


def top_k(
    queries: jax.Array,
    items: Any,
    k: int,
    *,
    mesh: Mesh,
    total: int,
    exclude: jax.Array | None = None,
    mask: jax.Array | None = None,
    cosine: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """As ``topk.top_k``, for ``items`` that were placed on ``mesh``; the same ids as on one device.

    Args:
        queries: float32 [B, D], on every device.
        items: what ``place`` made of rows [N, D].
        k: at most N.
        mesh: all of its devices hold items.
        total: N.
        exclude: int32 [B, E] item ids that may not be answered, padded with -1.
        mask: bool [N] or [B, N], the items that may be answered.
        cosine: of queries and items instead of their dot product.

    Returns:
        scores float32 [B, k] and ids int32 [B, k] on every device.

    Raises:
        TypeError: excluded ids that are no integers, a mask that is not bool, or ``mesh`` is no Mesh.
        ValueError: k is not from 1 to N, shapes that do not fit, a concrete excluded id beyond the items, ``items``
            that were not placed on ``mesh``, or a mesh with axes that are not Auto.

    >>> import jax.numpy as jnp
    >>> from rexjax import make_mesh
    >>> mesh, items = make_mesh(1), jnp.asarray([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    >>> scores, ids = top_k(jnp.asarray([[1.0, 0.0]]), place(items, mesh), 2, mesh=mesh, total=3)
    >>> ids.tolist()
    [[1, 2]]
    """
    check_mesh("mesh", mesh)
    if not 1 <= k <= total:
        raise ValueError(f"k is {k}: with {total} items it must lie in 1 … {total}")
    axes, everywhere, over = mesh.axis_names, PartitionSpec(), PartitionSpec(mesh.axis_names)
    exclude = jnp.full((len(queries), 0), -1, jnp.int32) if exclude is None else exclude
    padded = reading.count(items)
    if padded != total + -total % mesh.size:
        raise ValueError(
            f"items has {padded} rows: {total} items on {mesh.size} devices are {total + -total % mesh.size}; see place"
        )
    check_id_range("exclude", exclude, total)
    if mask is not None:
        check_shape("mask", mask, (*mask.shape[:-1], total), "total")
        mask = jnp.atleast_2d(mask)
        mask = jnp.pad(mask, ((0, 0), (0, padded - total)))

    def local(queries: jax.Array, items: Any, exclude: jax.Array, mask: jax.Array | None) -> Any:
        own = reading.count(items)
        first = jax.lax.axis_index(axes) * own
        here = (exclude >= first) & (exclude < first + own)
        most = min(k, own)
        scores, ids = topk.top_k(
            queries,
            items,
            most,
            exclude=jnp.where(here, exclude - first, -1),
            mask=mask,
            cosine=cosine,
            real=jnp.clip(total - first, 0, own) if padded > total else None,
        )
        return _merge(scores, ids + first, k, axes, mesh.size)

    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(everywhere, by_field(items, over, everywhere), everywhere, PartitionSpec(None, axes)),
        out_specs=everywhere,
        check_vma=False,
    )(queries, items, exclude, mask)


def _merge(scores: jax.Array, ids: jax.Array, k: int, axes: Any, shards: int) -> tuple[jax.Array, jax.Array]:
    """The k best of all devices' lists [B, k'], on every device; equal scores by id, as lists come in that order."""
    users = len(scores)
    short = -users % shards

    def to_mergers(lists: jax.Array) -> jax.Array:
        lists = jnp.pad(lists, ((0, short), (0, 0)))
        found = jax.lax.all_to_all(lists.reshape(shards, -1, lists.shape[1]), axes, 0, 0)  # [S, B / S, k']
        return jnp.moveaxis(found, 0, 1).reshape(found.shape[1], -1)

    scores, ids = to_mergers(scores), to_mergers(ids)
    best, at = jax.lax.top_k(scores, k)
    lists = best, jnp.take_along_axis(ids, at, 1)
    return tuple(jax.lax.all_gather(found, axes, tiled=True)[:users] for found in lists)
