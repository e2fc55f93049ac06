"""Sparse linear item-item weights."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp

from rexjax.errors import check_least, check_positive
from rexjax.families import coordinates
from rexjax.families.base import Run, TrainingData, Unsuitable
from rexjax.families.counting import (
    CountingModel,
    GramRows,
    check_training_decay,
    check_width,
    keep_largest,
    weigh_events,
)
from rexjax.models.item_weights import neighbour_scorer
from rexjax.models.scorer import Scorer
from rexjax.runtime import memory, processes
from rexjax.runtime.mesh import place, replicated, sharding

COLUMNS = 64, 128, 256, 512
"""Columns that a device solves for at a time: the fewest that hold what is left, or the most."""
SWEEPS = 8
"""Sweeps after which the columns that are not solved yet are put together: most need few, some need many."""


@dataclass(frozen=True)
class Slim(CountingModel):
    """Sparse linear method (Ning & Karypis 2011): elastic nets of each item on all others.

    Column j of W minimises ``½ |x_j - X w|² + l1 |w|₁ + ½ l2 |w|²`` subject to ``w ≥ 0`` and ``w_j = 0``, for the
    binary user-item matrix X. It is solved by coordinate descent from the Gram matrix XᵀX, in float32, all columns of a
    block together; the columns lie over the devices.
    """

    l1: float = 1.0
    """Lasso regularisation: it makes weights 0."""
    l2: float = 10.0
    """Ridge regularisation."""
    neighbours: int = 200
    """Largest weights that are kept of each item, K."""
    training_decay: float = 1.0
    """Weight per step back from the end of each user's training events in X; 1: X is binary."""
    tolerance: float = 1e-4
    """A column is solved once a sweep changes no weight by more."""
    sweeps: int = 50
    """Sweeps over the coordinates, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_width(self, "neighbours")
        check_least(self, "Slim", 1, "sweeps")
        check_least(self, "Slim", 0, "l1", "tolerance")
        check_positive(self, "Slim", "l2")
        check_training_decay(self)

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Solves for the weights.

        Returns:
            {"ids": int32 [N, K], "weights": float32 [N, K]}: the largest weights of each row of W, K at most N - 1.

        Raises:
            Unsuitable: the Gram matrix does not fit in memory; nothing is computed then.
        """
        size, mesh = coordinates.padded(data.items), run.mesh
        _check_memory(size, min(COLUMNS[-1], -(-data.items // mesh.size)), run)
        matrix = weigh_events(data, self.training_decay, self.recency)
        gram = jax.make_array_from_callback(
            (size, size), replicated(mesh), GramRows(matrix, matrix.T.tocsr(), 0.0, size)
        )
        # Columns with about as many users need about as many sweeps.
        waiting = np.argsort(matrix.sum(0), kind="stable").astype(np.int32)
        start, solved = np.zeros((size, data.items), np.float32), []
        for done in range(0, self.sweeps, SWEEPS):
            start, left = self._descend(gram, waiting, start, min(SWEEPS, self.sweeps - done), mesh)
            left &= done + SWEEPS < self.sweeps
            solved.append((waiting[~left], sp.csc_array(start[: data.items, ~left])))
            waiting, start = waiting[left], start[:, left]
            if not len(waiting):
                break
        order = np.concatenate([ids for ids, _ in solved])
        width = min(self.neighbours, max(data.items - 1, 1))
        weights = sp.hstack([columns for _, columns in solved], format="csc")[:, np.argsort(order)]
        return keep_largest(weights.tocsr(), width, run.seed)

    def _descend(
        self, gram: jax.Array, ids: np.ndarray, start: np.ndarray, sweeps: int, mesh: jax.sharding.Mesh
    ) -> tuple[np.ndarray, np.ndarray]:
        """Columns float32 [V, C] of ``ids`` after so many sweeps more, and bool [C], which are not solved yet.

        ``start`` float32 [V, C] is what they are now.
        """
        descend, parts, first = coordinates.descender(mesh), [], 0
        while first < len(ids):
            size = mesh.size * next((c for c in COLUMNS if c * mesh.size >= len(ids) - first), COLUMNS[-1])
            own = ids[first : first + size]
            now = np.zeros((len(gram), size), np.float32)
            now[:, : len(own)] = start[:, first : first + size]
            padded = np.pad(own, (0, size - len(own)), constant_values=-1)
            placed = place(padded, sharding(mesh, "rows")), place(now, sharding(mesh, None, "rows"))
            found = descend(gram, *placed, self.l1, self.l2, self.tolerance, sweeps)
            columns, left = (processes.gather(part) for part in found)
            parts.append((columns[:, : len(own)], left[: len(own)]))
            first += size
        return np.concatenate([part for part, _ in parts], 1), np.concatenate([left for _, left in parts])

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """``score(j) = sum_i decay^age(i) W_ij`` over the items of the history."""
        return neighbour_scorer(state, self.decay, self.recency)

    def variations(self) -> dict[str, Any]:
        """As of any counting model; how exactly it is solved is not searched."""
        return {
            name: model for name, model in super().variations().items() if not name.endswith((" tolerance", " sweeps"))
        }


def _check_memory(size: int, columns: int, run: Run) -> None:
    """Two copies of the Gram matrix, on the host and on a device, two of the weights, and a device's columns."""
    needed, available = 4 * (4 * size**2 + 4 * size * columns), memory.device_bytes(run.mesh)
    if needed > available:
        raise Unsuitable(
            f"--{run.key} is Slim, whose Gram matrix of {size:,} × {size:,} items needs {needed / 1e9:,.1f} GB on each "
            f"of {run.mesh.size} devices, and {available / 1e9:,.1f} GB are there: choose RP3beta or ItemKNN, which "
            "keep items × neighbours, or IALS, which keeps items × width"
        )
