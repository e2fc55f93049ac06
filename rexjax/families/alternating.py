"""Alternating least squares over a mesh: rows of like degree are solved together, each device solves its share."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.sharding import Mesh, PartitionSpec

from rexjax.families.conjugate_gradient import Entries, solve
from rexjax.runtime.mesh import place, replicated, sharding

BUCKETS = 6
"""Most buckets of a side: more waste less on padding, and take longer to compile."""
CHUNK_FLOATS = 1 << 20
"""Numbers of the vectors that a device reads at a time: 4 MB, which a CPU's cache holds."""


class Side(NamedTuple):
    """Users or items as they are solved."""

    buckets: tuple[Entries, ...]
    """All rows, bucket after bucket; each is padded so that every device has whole chunks."""
    places: np.ndarray
    """int64 [R], where each row is in the concatenation of the buckets."""
    size: int
    """Rows of the concatenation, with padding."""


class Objective(NamedTuple):
    """What the rows of one side minimise (see ``rexjax.models.fold_in``)."""

    unobserved_weight: float
    """alpha."""
    mass: float
    """alpha times the rows of the other side."""
    l2: float
    """Regularisation."""
    exponent: float
    """Of the regularisation by frequency, nu."""


def arrange(matrix: sp.csr_array, width: int, mesh: Mesh) -> tuple[Side, Side]:
    """Both sides of a weighted matrix float32 [U, N], over the mesh; ``width`` is D."""
    plans = [_plan(np.diff(part.indptr), width, mesh.size) for part in (matrix, matrix.T.tocsr())]
    users = _fill(matrix, plans[0], plans[1], mesh)
    return users, _fill(matrix.T.tocsr(), plans[1], plans[0], mesh)


class _Plan(NamedTuple):
    groups: list[tuple[np.ndarray, int, int]]
    """Rows, entries P and padded rows G of each bucket."""
    places: np.ndarray


def _plan(degrees: np.ndarray, width: int, devices: int) -> _Plan:
    entries = bucket_widths(degrees)
    groups, places, first = [], np.zeros(len(degrees), np.int64), 0
    for count in np.unique(entries).tolist():
        rows = np.flatnonzero(entries == count)
        unit = devices * chunk_rows(-(-len(rows) // devices), count, width)
        places[rows] = first + np.arange(len(rows))
        groups.append((rows, count, -(-len(rows) // unit) * unit))
        first += groups[-1][2]
    return _Plan(groups, places)


def bucket_widths(degrees: np.ndarray) -> np.ndarray:
    """int64 [R], the entries of the bucket of each row, such that ``BUCKETS`` widths waste least on padding.

    A width is a power of two, or one of three between it and the next, in whole eights.
    """
    grid = np.ceil(2.0 ** (np.arange(12, 4 * np.log2(max(degrees.max(initial=0), 8)) + 1.01) / 4 - 3) - 1e-9) * 8
    widths = np.unique(grid).astype(np.int64)
    chosen = np.searchsorted(widths, degrees)
    rows = np.append(0, np.cumsum(np.bincount(chosen, minlength=len(widths))))
    costs = np.triu((rows[None, 1:] - rows[:-1, None]) * widths)  # [i, j]: all rows of widths i to j in one bucket
    costs = np.where(np.tri(len(widths), k=-1, dtype=bool), np.inf, costs)
    ends = _cut(costs)
    return widths[ends[np.searchsorted(ends, chosen)]]


def _cut(costs: np.ndarray) -> np.ndarray:
    """The last of each of at most ``BUCKETS`` ranges of 0 … W - 1 whose costs [W, W], by first and last, sum to the
    least; by dynamic programming."""
    best, cuts = [costs[0]], []
    for _ in range(min(BUCKETS, len(costs)) - 1):
        totals = np.append(0, best[-1][:-1])[:, None] + costs  # [first of the last range, its end]
        cuts.append(totals.argmin(0))
        best.append(totals.min(0))
    ends = [len(costs) - 1]
    for cut in reversed(cuts):
        if cut[ends[0]] > 0:
            ends.insert(0, cut[ends[0]] - 1)
    return np.array(ends)


def chunk_rows(rows: int, entries: int, width: int) -> int:
    """How many of a device's ``rows`` with so many entries are solved at a time."""
    most = max(CHUNK_FLOATS // (entries * width), 1)
    return -(-rows // -(-rows // most)) if rows else 1


def piece_entries(entries: int, width: int) -> int:
    """How many entries of a row are read at a time: all, halved until they are ``CHUNK_FLOATS`` numbers at most."""
    while entries * width > CHUNK_FLOATS and entries % 2 == 0:
        entries //= 2
    return entries


def _fill(matrix: sp.csr_array, plan: _Plan, other: _Plan, mesh: Mesh) -> Side:
    buckets = []
    for rows, entries, padded in plan.groups:
        degrees = np.diff(matrix.indptr)[rows]
        at = np.repeat(np.arange(len(rows)), degrees)
        within = np.arange(len(at)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
        taken = matrix.indptr[rows][at] + within
        ids, weights = np.zeros((padded, entries), np.int32), np.zeros((padded, entries), np.float32)
        ids[at, within] = other.places[matrix.indices[taken]]
        weights[at, within] = matrix.data[taken]
        buckets.append(Entries(*place((ids, weights), sharding(mesh, "rows"))))
    return Side(tuple(buckets), plan.places, sum(padded for _, _, padded in plan.groups))


@cache
def half_step(mesh: Mesh) -> Any:
    """A compiled function: (vectors of the other side float32 [S', D], of this one [S, D], its buckets, ``Objective``)
    → new vectors float32 [S, D] of this side.

    Both lie by rows over the mesh. The other side's are gathered whole on every device while it is read. All vectors
    are turned into the eigenvectors of the other side's Gramian: there the part of the matrix that all rows share is
    diagonal, and so is its sum with the regularisation of each row.
    """
    over = PartitionSpec(mesh.axis_names)

    def half(fixed: jax.Array, own: jax.Array, buckets: tuple[Entries, ...], objective: Objective) -> jax.Array:
        gramian = objective.unobserved_weight * jnp.matmul(fixed.T, fixed, precision="highest")
        values, basis = jnp.linalg.eigh(gramian, symmetrize_input=False)
        whole = jax.lax.with_sharding_constraint(jnp.matmul(fixed, basis, precision="highest"), replicated(mesh))
        local = jax.shard_map(
            _solve_rows,
            mesh=mesh,
            in_specs=(over, over, PartitionSpec(), PartitionSpec(), PartitionSpec()),
            out_specs=over,
        )
        starts = jnp.split(jnp.matmul(own, basis, precision="highest"), np.cumsum([len(b.ids) for b in buckets])[:-1])
        pairs = zip(buckets, starts, strict=True)
        solved = [local(bucket, start, whole, jnp.maximum(values, 0), objective) for bucket, start in pairs]
        return jnp.matmul(jnp.concatenate(solved), basis.T, precision="highest")

    return jax.jit(half, out_shardings=sharding(mesh, "rows"))


def _solve_rows(
    bucket: Entries, starts: jax.Array, fixed: jax.Array, shared: jax.Array, objective: Objective
) -> jax.Array:
    """The rows of one device, chunk by chunk."""
    rows, entries = bucket.ids.shape
    width = fixed.shape[1]
    chunk, piece = chunk_rows(rows, entries, width), piece_entries(entries, width)

    def solve_chunk(part: tuple[Entries, jax.Array]) -> jax.Array:
        own, start = part
        ridge = objective.l2 * (own.weights.sum(1, keepdims=True) + objective.mass) ** objective.exponent
        return solve(own, fixed, shared + ridge, start, piece)

    chunks = jax.tree.map(lambda leaf: leaf.reshape(-1, chunk, leaf.shape[1]), (bucket, starts))
    return jax.lax.map(solve_chunk, chunks).reshape(rows, width)
