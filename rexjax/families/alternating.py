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
    """int32 [G, C], ascending: the row of each piece, counted from the first of the chunk; C - 1 at padding."""
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
    """Users and items of a weighted matrix float32 [U, N], over the mesh; ``width`` is D.

    Both sides have as many vectors and chunks as the larger, so that one compiled program solves either.
    """
    sides, share = (matrix, matrix.T.tocsr()), -(-max(matrix.shape) // mesh.size)
    places, pieces = [_deal(side, mesh.size, share) for side in sides], np.zeros((2, mesh.size, share), np.int64)
    for side, own, at in zip(sides, pieces, places, strict=True):
        own.flat[at] = -(-np.diff(side.indptr) // PIECE)
    size = min(max(CHUNK_FLOATS // (PIECE * width), pieces.max()), pieces.sum(2).max()) or 1
    first = first_rows(pieces.reshape(-1, share), size).reshape(2, mesh.size, -1)
    cut = [_cut(sides[n], pieces[n].ravel(), places[n], places[1 - n], first[n], size) for n in (0, 1)]
    users, items = place(cut, sharding(mesh, "rows"))
    return Side(users, places[0], mesh.size * share), Side(items, places[1], mesh.size * share)


def _deal(matrix: sp.csr_array, devices: int, share: int) -> np.ndarray:
    """The place of each row: the longest first, one to each device in turn."""
    ranks = np.empty(matrix.shape[0], np.int64)
    ranks[np.argsort(-np.diff(matrix.indptr), kind="stable")] = np.arange(len(ranks))
    return ranks % devices * share + ranks // devices


def first_rows(pieces: np.ndarray, most: int) -> np.ndarray:
    """The first row of each chunk, as many whole rows of each device as have ``most`` pieces.

    Args:
        pieces: int [devices, R], descending; rows of 0 pieces need no chunk.
        most: not below the largest.

    Returns:
        int64 [devices, G]; R where a device needs fewer chunks than another.
    """
    cuts = []
    for own in pieces:
        ends, cut = np.append(0, np.cumsum(own[own > 0])), [0]
        while (stop := int(np.searchsorted(ends, ends[cut[-1]] + most, side="right")) - 1) < len(ends) - 1:
            cut.append(stop)
        cuts.append(cut)
    return np.array([cut + [pieces.shape[1]] * (max(map(len, cuts)) - len(cut)) for cut in cuts])


def _cut(
    matrix: sp.csr_array, pieces: np.ndarray, places: np.ndarray, others: np.ndarray, first: np.ndarray, size: int
) -> Chunks:
    """Chunks of ``size`` pieces, whose ``first`` rows [devices, G] are counted on each device."""
    firsts = (first + np.arange(len(first))[:, None] * (len(pieces) // len(first))).ravel()
    solid, begins = np.flatnonzero(pieces), np.cumsum(pieces) - pieces
    chunk = np.searchsorted(firsts, solid, side="right") - 1
    begins[solid] += chunk * size - begins[firsts[chunk]]
    rows = np.full((len(firsts), size), size - 1, np.int32)
    rows.flat[_runs(begins[solid], pieces[solid])] = np.repeat(solid - firsts[chunk], pieces[solid])
    ids, weights = (np.zeros((*rows.shape, PIECE), kind) for kind in (np.int32, np.float32))
    entries = _runs(begins[places] * PIECE, np.diff(matrix.indptr))
    ids.flat[entries], weights.flat[entries] = others[matrix.indices], matrix.data
    return Chunks(ids, weights, rows, first.ravel().astype(np.int32))


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
    """The rows of one device, chunk by chunk: each writes C rows, and the next overwrites those that are its own."""
    size = chunks.rows.shape[1]
    starts = jnp.pad(vectors, ((0, size), (0, 0)))

    def advance(solved: jax.Array, chunk: Chunks) -> tuple[jax.Array, None]:
        start = jax.lax.dynamic_slice_in_dim(starts, chunk.first, size)
        found = _solve_chunk(chunk, start, fixed, shared, objective)
        return jax.lax.dynamic_update_slice_in_dim(solved, found, chunk.first, 0), None

    return jax.lax.scan(advance, 0 * starts, chunks)[0][: len(vectors)]


def _solve_chunk(
    chunk: Chunks, start: jax.Array, fixed: jax.Array, shared: jax.Array, objective: Objective
) -> jax.Array:
    vectors = fixed.at[chunk.ids].get(mode="clip")

    def sum_rows(pieces: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(pieces, chunk.rows, len(pieces), indices_are_sorted=True)

    def normal(direction: jax.Array, target: jax.Array) -> jax.Array:
        own = direction.at[chunk.rows].get(mode="clip")
        errors = chunk.weights * (target - jnp.einsum("cpd,cd->cp", vectors, own, precision="highest"))
        return sum_rows(jnp.einsum("cpd,cp->cd", vectors, errors, precision="highest"))

    mass = sum_rows(chunk.weights.sum(1))[:, None]
    ridge = objective.l2 * (mass + objective.mass) ** objective.exponent
    return solve(normal, shared + ridge, jnp.where(mass > 0, start, 0))
