"""Likeness of item texts."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding import rows
from rexjax.families.base import Model, Run, TrainingData, Unsuitable
from rexjax.models.layers import normalize
from rexjax.models.scorer import Query, Scorer


@dataclass(frozen=True)
class TextCosine(Model):
    """Items whose text is nearest to that of the user's latest item: ``TextKNN`` of one event."""

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Keeps unit text vectors."""
        return unit_text(data, run, "TextCosine")

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """Cosines with the latest item."""
        return Scorer(state, _latest, score_rows, len(state["text"]), item_rows)


def unit_text(data: TrainingData, run: Run, family: str) -> dict[str, Any]:
    """{"text": float32 [N, W]}, unit vectors, for ``family``.

    Raises:
        Unsuitable: the items have no text.
    """
    text = data.content.get("text")
    if text is None or not text.shape[1]:
        raise Unsuitable(f"{run.key} is {family}, and the items have no text: name its columns in --data.text")
    return {"text": np.asarray(normalize(text))}


def _latest(state: dict[str, Any], query: Query) -> jax.Array:
    return rows.take(state["text"], query.histories[:, -1:])[0][:, 0]


def score_rows(state: dict[str, Any], encoded: jax.Array, ids: jax.Array) -> jax.Array:
    """Dot products of encodings [B, W] with text vectors: float32 [B, C]."""
    return rows.score(encoded, jnp.asarray(state["text"])[ids])


def item_rows(state: dict[str, Any]) -> jax.Array:
    """The text vectors."""
    return state["text"]
