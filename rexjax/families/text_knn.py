"""Likeness of item texts to those of the latest events."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from rexjax.embedding import rows
from rexjax.families.base import Run, TrainingData
from rexjax.families.counting import CountingModel, check_width
from rexjax.families.text import item_rows, score_rows, unit_text
from rexjax.models.recency import Unit, weigh
from rexjax.models.scorer import Query, Scorer


@dataclass(frozen=True)
class TextKNN(CountingModel):
    """Items whose text is nearest to those of the user's latest events: content-based nearest neighbours (Lops et
    al. 2011).

    ``score(j) = sum_i w_i cos(t_i, t_j) / sum_i w_i`` over the distinct items i of the latest ``events`` events, with
    ``w_i = decay ** age(i)`` and text vectors t. ``TextCosine`` is the special case of one event.
    """

    decay: float = 0.8
    """Weight per step back in the history: 1 weighs all events alike, 0 keeps the latest step only."""
    events: int = 10
    """Latest events that count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_width(self, "events")

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Keeps unit text vectors: {"text": float32 [N, W]}.

        Raises:
            Unsuitable: the items have no text.
        """
        return unit_text(data, run, "TextKNN")

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """The weighted mean of the events' vectors, and dot products with it."""
        encode = _encoder(self.events, self.decay, self.recency)
        return Scorer(state, encode, score_rows, len(state["text"]), item_rows)


@cache  # equal settings share their functions: they are static in jit, and new ones would compile again
def _encoder(events: int, decay: float, recency: Unit) -> Any:
    def encode(state: dict[str, Any], query: Query) -> jax.Array:
        times = None if query.times is None else query.times[:, -events - 1 :]
        latest = weigh(Query(query.histories[:, -events:], times), decay, recency)
        vectors, _ = rows.take(state["text"], latest.ids)
        total = jnp.einsum("bl,bld->bd", latest.weights, vectors, precision="highest")
        return total / jnp.maximum(latest.weights.sum(1, keepdims=True), 1e-9)  # 0 of an empty history

    return encode
