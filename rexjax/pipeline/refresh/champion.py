"""The model that answers now, as it answers on a catalogue that has grown."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from rexjax.artifacts import store
from rexjax.config.schema import Config
from rexjax.families.base import Model, Run, TrainingData
from rexjax.families.popularity import Popularity
from rexjax.models.scorer import Query, Scorer
from rexjax.pipeline.stages import inputs

_NEVER = -1e30
"""Score of items that the model does not know."""


@dataclass(frozen=True)
class Champion(Model):
    """What a finished run serves. It never recommends items that it does not know, and skips them in histories."""

    model: Model = field(default_factory=Popularity)
    """The model."""
    state: str = ""
    """Folder of its state."""
    hash: str = ""
    """Content hash of the artifact that holds it."""
    known: int = 0
    """Items that it knows: the first of the catalogue."""
    items: int = 0
    """Items of the catalogue now."""

    def fit(self, data: TrainingData, run: Run) -> Any:
        """Reads the state."""
        return inputs.fitted(Path(self.state), self.model)

    def scorer(self, state: Any) -> Scorer:
        """The model, with the items that it does not know at the end of every ranking."""
        inner = self.model.scorer(state)
        functions = _on_more_items(Scorer(None, inner.encode, inner.score, inner.items, reads=inner.reads), self.known)
        return Scorer(state, *functions, self.items, reads=inner.reads)

    def state_from(self, tree: dict[str, Any]) -> Any:
        """The model's own."""
        return self.model.state_from(tree)

    def variations(self) -> dict[str, Model]:
        """None."""
        return {}


@cache  # equal models share their functions, so that nothing is compiled twice
def _on_more_items(inner: Scorer, known: int) -> tuple[Any, Any]:
    def encode(state: Any, query: Query) -> Any:
        familiar = (query.histories >= 0) & (query.histories < known)
        # familiar events last, as padding stands before a history
        order = jnp.argsort(familiar, axis=1, stable=True)
        histories = jnp.take_along_axis(jnp.where(familiar, query.histories, -1), order, 1)
        times = query.times
        if times is not None:
            times = jnp.concatenate([jnp.take_along_axis(times[:, :-1], order, 1), times[:, -1:]], 1)
        return inner.encode(state, Query(histories, times, query.features))

    def score(state: Any, encoded: Any, ids: jax.Array) -> jax.Array:
        found = inner.score(state, encoded, jnp.minimum(ids, known - 1))
        return jnp.where(ids < known, found, _NEVER)

    return encode, score


def champion_of(config: Config, workdir: Path, items: int) -> Champion:
    """What the finished run in ``workdir`` serves, on a catalogue of ``items``."""
    compressed, name = store.read(workdir / "compress"), config.compress.serve
    known = store.read(workdir / "prepare").metrics["items"]
    model = inputs.variant_model(compressed, name)
    return Champion(model, str(compressed.folder.absolute() / name), compressed.hash, known, items)
