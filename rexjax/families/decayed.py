"""Popularity that fades."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rexjax.errors import UserError
from rexjax.families.base import Model, Run, TrainingData
from rexjax.families.popularity import DAY, one_score_an_item, training_times
from rexjax.models.scorer import Scorer


@dataclass(frozen=True)
class DecayedPopularity(Model):
    """Items by their number of training interactions, each of which counts half as much after every half-life.

    ``score(j) = sum over training events of item j: 0.5 ** (age / half_life)``, where the age of an event is the time
    from it to the latest training event. Times count as seconds, as in ``RecentPopularity``.
    """

    half_life: float = 14.0
    """Days after which an event counts half."""

    def __post_init__(self) -> None:
        if self.half_life <= 0:
            raise UserError(f"DecayedPopularity has half_life={self.half_life}: set half_life above 0")

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Sums in float64: {"scores": float32 [N, 1]}.

        Raises:
            Unsuitable: all events have the same time.
        """
        events, times = training_times(data, run, "DecayedPopularity")
        weights = np.power(0.5, (times.max() - times) / (self.half_life * DAY))
        scores = np.bincount(data.log.items[events], weights, minlength=data.items)
        return {"scores": scores.astype(np.float32)[:, None]}

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """One number an item."""
        return one_score_an_item(state)
