"""Linear item-item models: EASE in closed form, and nearest neighbours of items."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from rexjax.errors import UserError, check_least
from rexjax.families import inverse, log_changes
from rexjax.families.base import Run, TrainingData, Unsuitable
from rexjax.families.counting import (
    CountingModel,
    GramRows,
    binary,
    check_training_decay,
    check_width,
    count_events,
    largest_by_block,
    row_blocks,
    weigh_events,
)
from rexjax.families.inverse_update import WORTH, dense_rows, updater
from rexjax.models.item_weights import matrix_scorer, neighbour_scorer
from rexjax.models.scorer import Scorer
from rexjax.runtime import memory, processes
from rexjax.runtime.mesh import place, replicated, sharding

_COPIES = 3  # of a device's part of the matrix: itself, a product of its size, and the copy it comes from or goes to


@dataclass(frozen=True)
class Ease(CountingModel):
    """Embarrassingly shallow autoencoder (Steck 2019): the item-item weights B that reproduce the user-item
    matrix X best, in closed form.

    ``min |X - X B|² + l2 |B|²`` subject to ``diag(B) = 0`` is solved by ``P = (XᵀX + l2 I)⁻¹`` and
    ``B_ij = -P_ij / P_jj`` for ``i ≠ j``. The matrix has N² entries, which lie over the devices by rows.
    """

    l2: float = 500.0
    """Ridge regularisation."""
    training_decay: float = 1.0
    """Weight per step back from the end of each user's training events in X; 1: X is binary."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.l2 <= 0:
            raise UserError(f"Ease has l2={self.l2}: set l2 above 0, or the matrix has no inverse")
        check_training_decay(self)

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Solves for the weights.

        Returns:
            {"weights": float32 [V, N], "precision": float32 [N]}; V is N on one device and else the next multiple of
            the devices. The latter is the diagonal of P, from which ``update`` goes on.

        Raises:
            Unsuitable: the matrix does not fit in memory; nothing is computed then.
        """
        mesh, size = run.mesh, inverse.padded(data.items, run.mesh)
        _check_memory(size, run)
        matrix = weigh_events(data, self.training_decay, self.recency)
        # On CPU, sparse counting takes a fifth of the time of dense products (4,334 users, 3,659 items), and a third of
        # it on a log with 165 items a user. Each process counts the rows of its devices.
        gram = jax.make_array_from_callback(
            (size, size), sharding(mesh, "rows"), GramRows(matrix, matrix.T.tocsr(), self.l2, size)
        )
        # float32: weights differ from float64's by 2e-7 of .2 at l2 = 500 and by 2e-5 of .8 at l2 = 1, where 99.6 % of
        # top-10 lists are the same; float64 takes twice the time and memory, and TPUs have none.
        precision = inverse.inverter(mesh, inverse.block_of(data.items, mesh))(gram)
        return _state(precision, data.items, mesh)

    def update(self, state: dict[str, Any], old: TrainingData, new: TrainingData, run: Run) -> dict[str, Any]:
        """Changes the inverse by the users whose training events changed, or fits where they are many.

        Returns:
            The state of ``fit(new, run)`` up to rounding.

        Raises:
            Unsuitable: the matrix does not fit in memory.
        """
        users = log_changes.changed_users(old, new)
        if WORTH * len(users) > new.items or "precision" not in state:
            return self.fit(new, run)
        _check_memory(inverse.padded(new.items, run.mesh), run)
        before, after = (
            weigh_events(log_changes.rows_of_users(data, users), self.training_decay, self.recency)
            for data in (old, new)
        )
        rows, grown = dense_rows(before, new.items), dense_rows(after, new.items)
        precision = updater(run.mesh)(_precision(state, new.items, self.l2, run.mesh), rows, grown - rows)
        return _state(precision, new.items, run.mesh)

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """``score(j) = sum_i decay^age(i) B_ij`` over the items of the history."""
        return matrix_scorer(state, self.decay, self.recency)


def _state(precision: jax.Array, items: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """What is kept of P [V, V'], on every process."""
    kept = items if mesh.size == 1 else -(-items // mesh.size) * mesh.size
    state = _weights(mesh)(precision, items, kept)
    return processes.gather(state) if processes.count() > 1 else state


@cache
def _weights(mesh: jax.sharding.Mesh) -> Any:
    """A compiled function: (P [V, V'], N, V'') → weights [V'', N], whose padding is 0, and the diagonal of P, [N]."""

    def weights(precision: jax.Array, items: int, kept: int) -> dict[str, jax.Array]:
        precision = precision[:kept, :items]
        diagonal = jnp.diagonal(precision)
        row, column = jnp.arange(kept)[:, None], jnp.arange(items)
        found = jnp.where((row != column) & (row < items), -precision / diagonal, 0)
        return {"weights": found, "precision": diagonal}

    where = {"weights": sharding(mesh, "rows"), "precision": replicated(mesh)}
    return jax.jit(weights, static_argnums=(1, 2), out_shardings=where)


def _precision(state: dict[str, Any], items: int, l2: float, mesh: jax.sharding.Mesh) -> jax.Array:
    """P [V, N] of a state with N or fewer items; the others have no event yet, their part of P is ``I / l2``."""
    known = len(state["precision"])
    diagonal = np.full(items, 1 / l2, np.float32)
    diagonal[:known] = state["precision"]
    weights = np.zeros((-(-items // mesh.size) * mesh.size, items), np.float32)
    weights[:known, :known] = np.asarray(state["weights"])[:known]
    np.multiply(weights, -diagonal, out=weights)
    np.fill_diagonal(weights[:items], diagonal)
    return place(weights, sharding(mesh, "rows"))


def _check_memory(size: int, run: Run) -> None:
    needed, available = _COPIES * 4 * size**2 // run.mesh.size, memory.device_bytes(run.mesh)
    if needed > available:
        raise Unsuitable(
            f"--{run.key} is Ease, whose matrix of {size:,} × {size:,} items needs {needed / 1e9:,.1f} GB on each of "
            f"{run.mesh.size} devices, and {available / 1e9:,.1f} GB are there: choose ItemKNN, which keeps items × "
            "neighbours, a factorised model such as Pooled, or more devices"
        )


@dataclass(frozen=True)
class ItemKNN(CountingModel):
    """Nearest neighbours of items (Deshpande & Karypis 2004), by cosine with shrinkage.

    ``s_ij = |U_i ∩ U_j| / (√|U_i| √|U_j| + shrinkage)`` for the sets U of users who met an item; each item of the
    history gives its similarity to its ``neighbours`` most similar items, and no other.
    """

    neighbours: int = 100
    """Most similar items that are kept of each item, K."""
    shrinkage: float = 10.0
    """Similarities that few users support shrink by it; 0: plain cosine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_width(self, "neighbours")
        check_least(self, "ItemKNN", 0, "shrinkage")

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Counts common users block by block: {"ids": int32 [N, K], "weights": float32 [N, K]}, K at most N - 1."""
        matrix = binary(count_events(data))
        transposed, width = matrix.T.tocsr(), min(self.neighbours, max(data.items - 1, 1))
        norms = np.sqrt(np.diff(transposed.indptr).astype(np.float32))

        def similarities(start: int, stop: int) -> sp.csr_array:
            common = (transposed[start:stop] @ matrix).tocsr()
            rows = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(common.indptr))
            common.data /= norms[rows] * norms[common.indices] + np.float32(self.shrinkage)
            common.data[common.indices == rows] = 0  # an item is no neighbour of itself
            return common

        return largest_by_block(row_blocks(matrix, matrix), similarities, width, run.seed)

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """``score(j) = sum_i decay^age(i) s_ij`` over the items of the history."""
        return neighbour_scorer(state, self.decay, self.recency)
