"""Matrix factorisation that learns the order of items, by gradients."""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from rexjax.errors import check_least, check_positive
from rexjax.families.pairs import Counts, RowModel, normal_table
from rexjax.losses.listwise import warp
from rexjax.losses.sampled import bpr
from rexjax.models.scorer import Scorer
from rexjax.models.user_rows import user_row_scorer
from rexjax.training.pairs import PairTraining, Params


@dataclass(frozen=True)
class BPRMF(RowModel):
    """Matrix factorisation with the loss of Bayesian personalised ranking (Rendle et al. 2009).

    The score is ``w_u · h_i + b_i``, and the loss of a positive item i among negative ones j is the mean of
    ``log(1 + exp(score_j - score_i))``. User -1 gets the items' biases.
    """

    width: int = 64
    """Width of the vectors, D."""
    l2: float = 3e-3
    """Weight of the squared norms of the rows of a pair in its loss."""
    init_std: float = 0.1
    """Deviation of the first vectors."""
    training: PairTraining = field(default_factory=PairTraining)
    """How it is trained."""

    objective = staticmethod(bpr)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, type(self).__name__, 1, "width")
        check_positive(self, type(self).__name__, "init_std")

    def first_params(self, users: int, items: int, seed: int) -> Params:
        """Normal vectors, and biases of 0."""
        keys = jax.random.split(jax.random.key(seed))
        of_users, of_items = (
            normal_table(key, rows, self.width, self.init_std) for key, rows in zip(keys, (users, items), strict=True)
        )
        biases = np.zeros((items, 1), np.float32)
        return {"tables": {"users": {"factors": of_users}, "items": {"factors": of_items, "bias": biases}}, "dense": {}}

    def score_rows(self, dense: Any, users: dict[str, jax.Array], items: dict[str, jax.Array]) -> jax.Array:
        """``w_u · h_i + b_i``."""
        return (users["factors"] * items["factors"]).sum(-1) + items["bias"][..., 0]

    def served(self, params: Params, counts: Counts, constants: Any) -> dict[str, np.ndarray]:
        """{"users": [w_u, 1], float32 [U, D + 1], "items": [h_i, b_i], float32 [N, D + 1], "unknown": [0, 1]}."""
        users, items = params["tables"]["users"]["factors"], params["tables"]["items"]
        return {
            "users": np.pad(np.where(counts.trained[:, None], users, 0), ((0, 0), (0, 1)), constant_values=1),
            "items": np.concatenate([items["factors"], items["bias"]], 1),
            "unknown": np.append(np.zeros(self.width, np.float32), np.float32(1)),
        }

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """Dot products."""
        return user_row_scorer(state)


@dataclass(frozen=True)
class WARP(BPRMF):
    """Matrix factorisation with the weighted approximate-rank pairwise loss (Weston et al. 2011).

    The score is that of ``BPRMF``. The loss is ``rexjax.losses.warp`` of the negative items of a pair. It takes more of
    them, because they estimate the rank of the positive one.
    """

    training: PairTraining = field(default_factory=lambda: PairTraining(negatives=32))
    """How it is trained."""

    objective = staticmethod(warp)
