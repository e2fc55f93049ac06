"""The same list for everybody."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.families.base import Model, Run, TrainingData
from rexjax.models.scorer import Query, Scorer


@dataclass(frozen=True)
class Popularity(Model):
    """Items by their number of training interactions."""

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Counts."""
        return {"scores": np.asarray(data.popularity, np.float32)[:, None]}

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """One number an item."""
        return one_score_an_item(state)


def one_score_an_item(state: dict[str, Any]) -> Scorer:
    """A model that does not look at the user: ``state["scores"]`` is float32 [N, 1]."""
    return Scorer(state, _ones, _score, len(state["scores"]), _rows)


def _ones(state: dict[str, Any], query: Query) -> jax.Array:
    return jnp.ones((query.histories.shape[0], 1))


def _score(state: dict[str, Any], encoded: jax.Array, ids: jax.Array) -> jax.Array:
    return encoded * state["scores"][ids, 0]


def _rows(state: dict[str, Any]) -> jax.Array:
    return state["scores"]
