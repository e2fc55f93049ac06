"""Several models side by side: a weighted sum of their scores (an ensemble, a hybrid)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError
from rexjax.families.base import Model, Run, TrainingData, check_state
from rexjax.models.scorer import Query, Scorer, positions_of
from rexjax.runtime.progress import notice

ROUNDS = 10
"""Rounds of ensemble selection: weights are multiples of a tenth."""
SCORES = 1 << 24
"""Scores that are standardised at a time: 64 MB."""
_LEAST = 1e-9  # of a deviation: a constant member adds nothing


@dataclass(frozen=True)
class Blend(Model):
    """A weighted sum of the members' scores, which unlike models make better than the best of them.

    Weights are chosen on validation by ensemble selection with replacement (Caruana et al. 2004): in each of ten
    rounds the member is added that improves the metric most, and the best round's counts are the weights.
    """

    members: tuple[Model, ...] = ()
    """The models."""
    weights: tuple[float, ...] = ()
    """One a member; (): chosen on validation."""
    standardized: bool = True
    """Each member's scores get mean 0 and deviation 1 over the catalogue, for each request; else they are summed as
    they are (as logits, where the member has them)."""

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.members):
            raise UserError(f"Blend has {len(self.members)} members and {len(self.weights)} weights: give one to each")

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Fits the members one after another, then chooses the weights."""
        if not self.members:
            raise UserError(f"--{run.key} is a Blend without members: name two models or more")
        states = {}
        for number, member in enumerate(self.members):
            own = run.member(number)
            states[str(number)] = member.fit(data, own)
            check_state(states[str(number)], f"--{own.key} ({type(member).__name__})")
        equal = np.full(len(self.members), 1 / len(self.members), np.float32)
        state = {"members": states, "weights": equal}
        self._check_catalogues(state, data.items, run)
        return state | {"weights": np.asarray(self.weights or self._choose(state, run), np.float32)}

    def _check_catalogues(self, state: dict[str, Any], items: int, run: Run) -> None:
        for number, scorer in enumerate(self._scorers(state)):
            if scorer.items != items:
                raise UserError(
                    f"--{run.key}.members.{number} knows {scorer.items} items and the log has {items}: the members of "
                    "a blend share one catalogue"
                )

    def _choose(self, state: dict[str, Any], run: Run) -> np.ndarray:
        template = self.scorer(state)

        def quality(weights: np.ndarray) -> float:
            return run.validate(replace(template, state=state | {"weights": weights}))[run.select]

        weights, best = select_ensemble(quality, len(self.members))
        names = (f"{type(member).__name__} {weight:g}" for member, weight in zip(self.members, weights, strict=True))
        notice(f"{run.name}: weights by validation {run.select} {best:.4f}: {', '.join(names)}")
        return weights

    def _scorers(self, state: dict[str, Any]) -> list[Scorer]:
        return [member.scorer(state["members"][str(number)]) for number, member in enumerate(self.members)]

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """The weighted sum."""
        templates = tuple(replace(scorer, state=None) for scorer in self._scorers(state))
        return replace(_standardized(templates) if self.standardized else _summed(templates), state=state)

    def state_from(self, tree: dict[str, Any]) -> dict[str, Any]:
        """The members' states as their families have them."""
        stored = tree["members"]
        return tree | {"members": {n: member.state_from(stored[n]) for n, member in _numbered(self.members)}}

    def variations(self) -> dict[str, Model]:
        """One change of one member."""
        found: dict[str, Model] = {}
        for number, member in enumerate(self.members):
            for name, changed in member.variations().items():
                members = (*self.members[:number], changed, *self.members[number + 1 :])
                found[f"member {number}: {name}"] = replace(self, members=members)
        return found


def _numbered(members: tuple[Model, ...]) -> list[tuple[str, Model]]:
    return [(str(number), member) for number, member in enumerate(members)]


def select_ensemble(quality: Callable[[np.ndarray], float], members: int) -> tuple[np.ndarray, float]:
    """Weights float32 [M], multiples of one over the number of rounds so far, and their quality.

    Args:
        quality: of weights that sum to 1, more is better.
        members: M.
    """
    known: dict[tuple[float, ...], float] = {}

    def judged(counts: np.ndarray) -> float:
        weights = (counts / counts.sum()).astype(np.float32)
        key = tuple(weights.tolist())
        if key not in known:
            known[key] = quality(weights)
        return known[key]

    counts, path = np.zeros(members, int), []
    for _ in range(ROUNDS):
        added = max(range(members), key=lambda member: judged(counts + np.eye(members, dtype=int)[member]))
        counts = counts + np.eye(members, dtype=int)[added]
        path.append((judged(counts), counts))
    best, counts = max(path, key=lambda step: step[0])
    return (counts / counts.sum()).astype(np.float32), best


@cache  # equal blends share their functions: they are static in jit, and new ones would compile again
def _summed(scorers: tuple[Scorer, ...]) -> Scorer:
    """Scores times their scales, weighted; members and sum are without their states."""
    scales = [scorer.scale or 1.0 for scorer in scorers]

    def encode(state: dict[str, Any], query: Query) -> tuple[Any, ...]:
        return tuple(scorer.encode(state["members"][str(n)], query) for n, scorer in enumerate(scorers))

    def encode_positions(state: dict[str, Any], batch: Any) -> tuple[Any, ...]:
        return tuple(positions_of(scorer, state["members"][str(n)], batch) for n, scorer in enumerate(scorers))

    def score(state: dict[str, Any], encoded: tuple[Any, ...], ids: jax.Array) -> jax.Array:
        parts = (
            state["weights"][n] * scales[n] * scorer.score(state["members"][str(n)], encoded[n], ids)
            for n, scorer in enumerate(scorers)
        )
        return sum(parts, jnp.zeros(()))

    logits = all(scorer.scale for scorer in scorers)
    return Scorer(
        None, encode, score, scorers[0].items, encode_positions=encode_positions, scale=1.0 if logits else None
    )


class _Standardized(NamedTuple):
    """An encoding with the moments of its scores over the catalogue."""

    encoded: Any
    mean: jax.Array
    """float32 [B]."""
    deviation: jax.Array
    """float32 [B]."""


@cache
def _standardized(scorers: tuple[Scorer, ...]) -> Scorer:
    """Standard scores, weighted; members and sum are without their states."""

    def with_moments(scorer: Scorer, state: Any, encoded: Any) -> _Standardized:
        mean, deviation = moments(scorer, state, encoded)
        return _Standardized(encoded, mean, deviation)

    def encode(state: dict[str, Any], query: Query) -> tuple[_Standardized, ...]:
        members = [state["members"][str(n)] for n in range(len(scorers))]
        return tuple(
            with_moments(scorer, own, scorer.encode(own, query)) for scorer, own in zip(scorers, members, strict=True)
        )

    def encode_positions(state: dict[str, Any], batch: Any) -> tuple[_Standardized, ...]:
        shape = batch.items.shape
        found = []
        for n, scorer in enumerate(scorers):
            own = state["members"][str(n)]
            flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), positions_of(scorer, own, batch))
            found.append(jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), with_moments(scorer, own, flat)))
        return tuple(found)

    def score(state: dict[str, Any], encoded: tuple[_Standardized, ...], ids: jax.Array) -> jax.Array:
        total = jnp.zeros(())
        for n, (scorer, own) in enumerate(zip(scorers, encoded, strict=True)):
            scores = scorer.score(state["members"][str(n)], own.encoded, ids)
            total += state["weights"][n] * (scores - own.mean[:, None]) / own.deviation[:, None]
        return total

    return Scorer(None, encode, score, scorers[0].items, encode_positions=encode_positions)


def moments(scorer: Scorer, state: Any, encoded: Any) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of each request's scores over the catalogue: float32 [B], [B].

    A catalogue whose scores do not fit into one chunk is scored chunk by chunk.
    """
    users = jax.tree.leaves(encoded)[0].shape[0]
    chunks = -(-scorer.items // max(SCORES // (users if isinstance(users, int) else 1), 1024))
    if chunks == 1:
        scores = scorer.score(state, encoded, jnp.arange(scorer.items))
        return scores.mean(1), jnp.maximum(scores.std(1), _LEAST)
    size = -(-scorer.items // chunks)

    def add(total: jax.Array, start: jax.Array) -> tuple[jax.Array, None]:
        ids = start + jnp.arange(size)
        scores = scorer.score(state, encoded, jnp.minimum(ids, scorer.items - 1))
        scores = jnp.where(ids < scorer.items, scores, 0)
        return total + jnp.stack([scores.sum(1), (scores**2).sum(1)]), None

    total, _ = jax.lax.scan(add, jnp.zeros((2, users)), jnp.arange(chunks) * size)
    mean, square = total / scorer.items
    return mean, jnp.maximum(jnp.sqrt(jnp.maximum(square - mean**2, 0)), _LEAST)
