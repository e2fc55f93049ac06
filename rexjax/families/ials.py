"""Matrix factorisation of implicit feedback by alternating least squares."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from rexjax.errors import check_least, check_positive
from rexjax.families.alternating import Objective, Side, arrange, half_step
from rexjax.families.base import Model, Run, TrainingData
from rexjax.families.counting import CountingModel, check_training_decay, weigh_events
from rexjax.models.fold_in import fold_in_scorer
from rexjax.models.scorer import Scorer
from rexjax.models.served import Served
from rexjax.runtime import processes
from rexjax.runtime.mesh import place, sharding


@dataclass(frozen=True)
class IALS(CountingModel):
    """Implicit alternating least squares (Hu et al. 2008) with the regularisation of Rendle et al. 2021.

    User vectors w and item vectors h, both D wide, minimise

        ``sum_(u,i) c_ui (w_u · h_i - 1)² + alpha sum over all pairs (w_u · h_i)²``
        ``+ l2 (sum_u (n_u + alpha N)^nu |w_u|² + sum_i (n_i + alpha U)^nu |h_i|²)``

    over the pairs of training, each of which counts once however often it occurs; n are sums of c, by user and by item.
    In turn all w and all h are solved for, by preconditioned conjugate gradients from the vectors of the epoch before,
    in float32, to a relative error of 1/1000 at most. Only item vectors are kept: the history of a request is folded
    in by one more solution, by a Cholesky factorisation. Scores are dot products.
    """

    width: int = 64
    """Width of the vectors, D."""
    unobserved_weight: float = 0.1
    """Weight of every pair, observed or not, alpha."""
    l2: float = 0.003
    """Regularisation."""
    l2_exponent: float = 1.0
    """Power of its growth with the number of interactions, nu; 0: all vectors alike."""
    epochs: int = 16
    """Rounds in which all users and all items are solved for."""
    init_std: float = 0.1
    """Deviation of the first item vectors, over √D."""
    training_decay: float = 1.0
    """Weight c per step back from the end of each user's training events; 1: c is 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "IALS", 1, "width", "epochs")
        check_least(self, "IALS", 0, "l2_exponent")
        check_positive(self, "IALS", "unobserved_weight", "l2", "init_std")
        check_training_decay(self)

    def fit(self, data: TrainingData, run: Run) -> Served:
        """Alternates.

        The rows of both sides lie over the devices; each solves its own, and reads the other side's whole.

        Returns:
            items float32 [N, D]; history {"gramian": float32 [D, D], "mass": float32 [1]} for new users.
        """
        matrix = weigh_events(data, self.training_decay, self.recency)
        users, items = arrange(matrix, self.width, run.mesh)
        step, mesh = half_step(run.mesh), run.mesh
        of_users, of_items = self._objective(data.items), self._objective(data.log.users)
        vectors = place(self._first(items, data.items, run.seed), sharding(mesh, "rows"))
        histories = place(np.zeros((users.size, self.width), np.float32), sharding(mesh, "rows"))
        for _ in range(self.epochs):
            histories = step(vectors, histories, users.chunks, of_users)
            vectors = step(histories, vectors, items.chunks, of_items)
        found = processes.gather(vectors)[items.places]
        gramian = np.float32(self.unobserved_weight) * (found.T @ found)
        return Served(found, {"gramian": gramian, "mass": np.array([of_users.mass], np.float32)})

    def _objective(self, others: int) -> Objective:
        return Objective(self.unobserved_weight, self.unobserved_weight * others, self.l2, self.l2_exponent)

    def _first(self, items: Side, count: int, seed: int) -> np.ndarray:
        placed = np.zeros((items.size, self.width), np.float32)
        placed[items.places] = self.first_vectors(count, seed)
        return placed

    def first_vectors(self, items: int, seed: int) -> np.ndarray:
        """Item vectors before the first epoch: float32 [N, D]."""
        normal = np.asarray(jax.random.normal(jax.random.key(seed), (items, self.width)))
        return normal * np.float32(self.init_std / self.width**0.5)

    def scorer(self, state: Served) -> Scorer:
        """Dot products with the vector of the history; an item of the history counts ``decay ** age``."""
        return fold_in_scorer(state, self.decay, self.recency, self.l2, self.l2_exponent)

    def state_from(self, tree: dict[str, Any]) -> Served:
        """Item rows, and what folding in needs."""
        return Served(tree["items"], tree["history"])

    def variations(self) -> dict[str, Model]:
        """As of any counting model, but the first vectors stay, and the exponent moves by a quarter."""
        kept = super().variations()
        for name in ("init_std", "l2_exponent", "training_decay"):
            kept = {change: model for change, model in kept.items() if not change.endswith(f" {name}")}
        lower = max(self.l2_exponent - 0.25, 0.0)
        found = {"more l2_exponent": self.l2_exponent + 0.25, "less l2_exponent": lower}
        exponents = {name: replace(self, l2_exponent=value) for name, value in found.items()}
        return kept | {name: model for name, model in exponents.items() if model != self}
