"""Alternating least squares over a mesh: each device solves its share of the rows, some rows at a time."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.sharding import Mesh, PartitionSpec

from rexjax.families.conjugate_gradient import solve
from rexjax.runtime.mesh import place, replicated, sharding

PIECE = 32
"""Entries of a piece of a row, P: one shape for rows of all degrees compiles once."""
CHUNK_FLOATS = 1 << 20
"""Numbers of the vectors that a device reads at a time: 4 MB, which a CPU's cache holds. A longer row is read whole."""


class Chunks(NamedTuple):
    """Pieces of rows, C in each of G chunks. A row is one run of pieces of one chunk; a chunk has up to C rows."""

    ids: jax.Array
    """int32 [G, C, P], the place of each entry's column among the vectors of the other side; 0 at padding."""
    weights: jax.Array
    """float32 [G, C, P], 0 at padding."""
    rows: jax.Array
    """int32 [G, C], the row of each piece, counted from the first of the chunk."""
    starts: jax.Array
    """int32 [G, C], the first piece of each row of the chunk."""
    lengths: jax.Array
    """int32 [G, C], the pieces of each row; 0: there is no such row."""
    first: jax.Array
    """int32 [G], the first row of the chunk among those of its device."""


class Side(NamedTuple):
    """Users or items as they are solved."""

    chunks: Chunks
    """All entries, as many chunks on each device."""
    places: np.ndarray
    """int64 [R], where each row lies among the vectors."""
    size: int
    """Rows of the vectors, S: as many on each device."""


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
    users, items = matrix, matrix.T.tocsr()
    of_users, of_items = _deal(users, mesh.size), _deal(items, mesh.size)
    return _cut(users, of_users, of_items, width, mesh), _cut(items, of_items, of_users, width, mesh)


def _deal(matrix: sp.csr_array, devices: int) -> np.ndarray:
    """The place of each row: the longest first, one to each device in turn."""
    ranks, rows = np.empty(matrix.shape[0], np.int64), np.arange(matrix.shape[0])
    ranks[np.argsort(-np.diff(matrix.indptr), kind="stable")] = rows
    return ranks % devices * -(-len(rows) // devices) + ranks // devices


def _cut(matrix: sp.csr_array, places: np.ndarray, others: np.ndarray, width: int, mesh: Mesh) -> Side:
    share, degrees = -(-len(places) // mesh.size), np.diff(matrix.indptr)
    counts = np.ones(mesh.size * share, np.int64)  # a row without entries has a piece of padding
    counts[places] = np.maximum(-(-degrees // PIECE), 1)
    by_device = counts.reshape(mesh.size, share)
    size = min(max(CHUNK_FLOATS // (PIECE * width), counts.max()), by_device.sum(1).max())
    cuts = [first_rows(own, size) for own in by_device]
    first = np.stack([np.pad(own, (0, max(map(len, cuts)) - len(own)), constant_values=share) for own in cuts])
    firsts = (first + np.arange(mesh.size)[:, None] * share).ravel()
    chunk, begin = np.searchsorted(firsts, np.arange(len(counts)), side="right") - 1, np.cumsum(counts) - counts
    row, start = np.arange(len(counts)) - firsts[chunk], begin - begin[firsts[chunk]]
    starts, lengths, rows = np.zeros((3, len(firsts), size), np.int32)
    starts[chunk, row], lengths[chunk, row] = start, counts
    piece = chunk * size + start
    rows.flat[_runs(piece, counts)] = np.repeat(row, counts)
    ids, weights = (np.zeros((len(firsts), size, PIECE), kind) for kind in (np.int32, np.float32))
    entries = _runs(piece[places] * PIECE, degrees)
    ids.flat[entries], weights.flat[entries] = others[matrix.indices], matrix.data
    chunks = Chunks(ids, weights, rows, starts, lengths, first.ravel().astype(np.int32))
    return Side(place(chunks, sharding(mesh, "rows")), places, len(counts))


def first_rows(pieces: np.ndarray, most: int) -> np.ndarray:
    """int64 [G], the first row of each chunk, of rows with so many ``pieces`` each, ``most`` a chunk."""
    ends, firsts = np.append(0, np.cumsum(pieces)), [0]
    while (stop := int(np.searchsorted(ends, ends[firsts[-1]] + most, side="right")) - 1) < len(pieces):
        firsts.append(stop)
    return np.array(firsts)


def _runs(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Runs of consecutive numbers, one behind another."""
    return np.repeat(begins - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())


@cache
def half_step(mesh: Mesh) -> Any:
    """A compiled function: (vectors of the other side float32 [S', D], of this one [S, D], its ``Chunks``,
    ``Objective``) → new vectors float32 [S, D] of this side.

    Both lie by rows over the mesh. The other side's are gathered whole on every device while it is read. All vectors
    are turned into the eigenvectors of the other side's Gramian: there the part of the matrix that all rows share is
    diagonal, and so is its sum with the regularisation of each row.
    """
    over, alike = PartitionSpec(mesh.axis_names), PartitionSpec()
    local = jax.shard_map(_solve_rows, mesh=mesh, in_specs=(over, over, alike, alike, alike), out_specs=over)

    def half(fixed: jax.Array, own: jax.Array, chunks: Chunks, objective: Objective) -> jax.Array:
        gramian = objective.unobserved_weight * jnp.matmul(fixed.T, fixed, precision="highest")
        values, basis = jnp.linalg.eigh(gramian, symmetrize_input=False)
        whole = jax.lax.with_sharding_constraint(jnp.matmul(fixed, basis, precision="highest"), replicated(mesh))
        start = jnp.matmul(own, basis, precision="highest")
        solved = local(chunks, start, whole, jnp.maximum(values, 0), objective)
        return jnp.matmul(solved, basis.T, precision="highest")

    return jax.jit(half, out_shardings=sharding(mesh, "rows"))


def _solve_rows(
    chunks: Chunks, vectors: jax.Array, fixed: jax.Array, shared: jax.Array, objective: Objective
) -> jax.Array:
    """The rows of one device, chunk by chunk: the next overwrites what a chunk writes behind its own rows."""
    size = chunks.rows.shape[1]
    starts = jnp.pad(vectors, ((0, size), (0, 0)))

    def advance(solved: jax.Array, chunk: Chunks) -> tuple[jax.Array, None]:
        start = jax.lax.dynamic_slice_in_dim(starts, chunk.first, size)
        found = _solve_chunk(chunk, start, fixed, shared, objective)
        return jax.lax.dynamic_update_slice_in_dim(solved, found, chunk.first, 0), None

    return jax.lax.scan(advance, starts, chunks)[0][: len(vectors)]


def _solve_chunk(
    chunk: Chunks, start: jax.Array, fixed: jax.Array, shared: jax.Array, objective: Objective
) -> jax.Array:
    vectors = fixed.at[chunk.ids].get(mode="clip")

    def normal(direction: jax.Array, target: jax.Array) -> jax.Array:
        errors = target - jnp.einsum("cpd,cd->cp", vectors, direction[chunk.rows], precision="highest")
        return _sum_rows(jnp.einsum("cpd,cp->cd", vectors, chunk.weights * errors, precision="highest"), chunk)

    mass = _sum_rows(chunk.weights.sum(1, keepdims=True), chunk)
    ridge = objective.l2 * (mass + objective.mass) ** objective.exponent
    return solve(normal, shared + ridge, jnp.where(mass > 0, start, 0))


def _sum_rows(pieces: jax.Array, chunk: Chunks) -> jax.Array:
    """Sums [C, D] of the pieces [C, D] of each row, in an order that does not depend on the device.

    Runs of 1, 2, 4 … pieces are summed for all beginnings; a row adds those of the binary digits of its length.
    """

    def double(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        run, at, totals, sums = state
        added = chunk.lengths & run
        totals += jnp.where(added[:, None] > 0, sums.at[at].get(mode="clip"), 0)
        return 2 * run, at + added, totals, sums + jnp.roll(sums, -run, 0)

    def go_on(state: tuple[jax.Array, ...]) -> jax.Array:
        return state[0] <= chunk.lengths.max()

    run = jnp.int32(1)
    return jax.lax.while_loop(go_on, double, (run, chunk.starts, 0 * pieces, pieces))[2]
