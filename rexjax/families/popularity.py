"""The same list for everybody."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError
from rexjax.families.base import Model, Run, TrainingData, Unsuitable
from rexjax.models.scorer import Query, Scorer

DAY = 86_400
"""Seconds in a day."""


@dataclass(frozen=True)
class Popularity(Model):
    """Items by their number of training interactions."""

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Counts."""
        return {"scores": np.asarray(data.popularity, np.float32)[:, None]}

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """One number an item."""
        return one_score_an_item(state)


@dataclass(frozen=True)
class RecentPopularity(Model):
    """Items by their number of training interactions in the latest days of the training part.

    Times count as seconds: in a log whose times are in another unit, a day is 86,400 of that unit. Times since each
    user's own first event are no moments that users share, and mean nothing here.
    """

    days: float = 7.0
    """How many days before the latest training event count."""

    def __post_init__(self) -> None:
        if self.days <= 0:
            raise UserError(f"RecentPopularity has days={self.days}: set days above 0")

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Counts: {"scores": float32 [N, 1]}.

        Raises:
            Unsuitable: all events have the same time.
        """
        events, times = training_times(data, run, "RecentPopularity")
        recent = events[times > times.max() - self.days * DAY]
        counts = np.bincount(data.log.items[recent], minlength=data.items)
        return {"scores": counts.astype(np.float32)[:, None]}

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """One number an item."""
        return one_score_an_item(state)


def training_times(data: TrainingData, run: Run, family: str) -> tuple[np.ndarray, np.ndarray]:
    """Place in the log int64 [E'] and time [E'] of each training event, for ``family``.

    Raises:
        Unsuitable: all events have the same time.
    """
    _, events = data.events()
    times = data.log.times[events]
    if not len(times) or times.min() == times.max():
        raise Unsuitable(
            f"--{run.key} is {family}, and all {len(times):,} training events have the same time: choose Popularity"
        )
    return events, times


def one_score_an_item(state: dict[str, Any]) -> Scorer:
    """A model that does not look at the user: ``state["scores"]`` is float32 [N, 1]."""
    return Scorer(state, _ones, _score, len(state["scores"]), _rows)


def _ones(state: dict[str, Any], query: Query) -> jax.Array:
    return jnp.ones((query.histories.shape[0], 1))


def _score(state: dict[str, Any], encoded: jax.Array, ids: jax.Array) -> jax.Array:
    return encoded * jnp.asarray(state["scores"])[ids, 0]


def _rows(state: dict[str, Any]) -> jax.Array:
    return state["scores"]
