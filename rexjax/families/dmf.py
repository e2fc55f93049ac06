"""Deep matrix factorisation: two towers over the rating matrix."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError
from rexjax.families.base import Run, TrainingData, Unsuitable
from rexjax.families.pairs import Counts, PairModel, distinct_pairs, normal_table, with_popularity
from rexjax.losses.sampled import mean
from rexjax.models.pair_networks import ReluLayers
from rexjax.models.rating_towers import Ratings, normalized_cross_entropy, tower
from rexjax.models.scorer import Scorer
from rexjax.models.user_rows import user_row_scorer
from rexjax.training.pairs import PairBatch, Pairs, PairTraining, Params

FLOOR = 1e-6
"""The least cosine that the loss knows."""


@dataclass(frozen=True)
class DMF(PairModel):
    """Deep matrix factorisation (Xue et al. 2017): the cosine of two towers, one over the user's row of the training
    matrix Y and one over the item's column.

    Each tower is ``relu(W_n … relu(W_2 W_1 y + b_2) … + b_n)``. The loss of a pair is the normalised cross-entropy
    ``-y log ŷ - (1 - y) log(1 - ŷ)``, where y is the rating over the largest one (1 without ratings, 0 for a negative
    item) and ŷ the cosine, 1e-6 or more. Answers rank by the cosine itself. A step computes both towers of all users
    and items, which costs O(E H) for E pairs and a first layer H wide: larger batches make cheaper epochs. User -1
    gets the items' popularity.
    """

    layers: tuple[int, ...] = (64, 64)
    """Widths of the layers of each tower; the last one is D."""
    ratings: bool = False
    """Y holds the ratings of the log, ``TrainingData.features["rating"]``, float32 [E] of all its events; else 1. The
    latest rating of a pair counts."""
    training: PairTraining = field(default_factory=lambda: PairTraining(batch=4096, learning_rate=3e-3))
    """How it is trained."""

    def __post_init__(self) -> None:
        if len(self.layers) < 2 or min(self.layers) < 1:
            raise UserError(f"DMF has layers={self.layers}: set layers to two widths or more, each 1 or more")

    def pairs(self, data: TrainingData, run: Run) -> Pairs:
        """Distinct pairs with their ratings over the largest one, or 1.

        Raises:
            Unsuitable: there are no ratings, or none is above 0.
        """
        if not self.ratings:
            return super().pairs(data, run)
        rating = data.features.get("rating")
        if rating is None or np.max(rating, initial=0) <= 0:
            raise Unsuitable(
                f"--{run.key}.ratings asks for ratings, and the log has none above 0: set it to False, or give "
                "TrainingData features with the rating of each event"
            )
        owners, events = data.events()
        keys = owners * data.items + data.log.items[events]
        _, from_behind = np.unique(keys[::-1], return_index=True)
        values = np.asarray(rating, np.float32)[events[::-1][from_behind]]
        return Pairs(*distinct_pairs(data), np.maximum(values, 0) / values.max())

    def constants(self, data: TrainingData, run: Run) -> Ratings:
        """The matrix."""
        return Ratings(*self.pairs(data, run))

    def first_params(self, users: int, items: int, seed: int) -> Params:
        """Normal first layers, so that a row of few entries is small; kernels after LeCun, biases of 0."""
        keys = jax.random.split(jax.random.key(seed), 4)
        tables = {
            "users": {"kernel": normal_table(keys[0], users, self.layers[0], 0.1)},  # of the items' tower
            "items": {"kernel": normal_table(keys[1], items, self.layers[0], 0.1)},
        }
        example = jnp.zeros((1, self.layers[0]))
        of_users, of_items = (self.upper().init(key, example)["params"] for key in keys[2:])
        return {"tables": tables, "dense": jax.tree.map(np.asarray, {"users": of_users, "items": of_items})}

    def upper(self) -> ReluLayers:
        """The layers above the first."""
        return ReluLayers(self.layers[1:])

    def vectors(self, params: Params, matrix: Ratings) -> tuple[jax.Array, jax.Array]:
        """Unit vectors of users float32 [U, D] and items float32 [N, D]."""
        kernels = {"users": params["tables"]["items"]["kernel"], "items": params["tables"]["users"]["kernel"]}
        both = {side: {"kernel": kernels[side], "layers": params["dense"][side]} for side in kernels}
        upper, (users, items, values) = self.upper(), matrix
        return (
            tower(upper, both["users"], users, items, values, len(kernels["items"])),
            tower(upper, both["items"], items, users, values, len(kernels["users"])),
        )

    def loss(self, catalogue: int, params: Params, batch: PairBatch, constants: Ratings) -> jax.Array:
        """Normalised cross-entropy, the mean over positive and negative pairs."""
        users, items = self.vectors(params, constants)
        cosines = (users[batch.users][:, None] * items[batch.items]).sum(-1)
        values = jnp.zeros(cosines.shape).at[:, 0].set(batch.values)
        return mean(normalized_cross_entropy(cosines, values, FLOOR).mean(-1), batch.where)

    def served(self, params: Params, counts: Counts, constants: Ratings) -> dict[str, np.ndarray]:
        """{"users": float32 [U, D + 1], "items": float32 [N, D + 1], "unknown"}, of unit vectors and popularity."""
        users, items = jax.jit(self.vectors)(params, constants)
        return with_popularity(np.asarray(users), np.asarray(items), counts)

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """Cosines."""
        return user_row_scorer(state)
