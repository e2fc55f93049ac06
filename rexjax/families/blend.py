"""Several models side by side: a weighted sum of their scores (an ensemble, a hybrid)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError
from rexjax.families.base import Model, Planned, Run, TrainingData, Unsuitable, check_state, follow
from rexjax.models.scorer import Query, Scorer, positions_of, scores_of_positions
from rexjax.runtime.progress import notice

ROUNDS = 10
"""Rounds of ensemble selection: weights are multiples of a tenth."""
SCORES = 1 << 26
"""Scores that are standardised at a time: 256 MB."""
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
        """Fits the members one after another, then chooses the weights. Members that the log does not suit are left
        out, and that is said."""
        if not self.members:
            raise UserError(f"--{run.key} is a Blend without members: name two models or more")
        states = self._fitted(data, run)
        equal = np.full(len(states), 1 / len(states), np.float32)
        state = {"members": states, "weights": equal}
        self._check_catalogues(state, data.items, run)
        given = [self.weights[int(number)] for number in _numbers(state)] if self.weights else None
        return state | {"weights": np.asarray(given or self._choose(state, run), np.float32)}

    def _fitted(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """States by the member's number.

        Raises:
            Unsuitable: the log suits no member; the reason of the last one.
        """
        states, unsuitable = {}, None
        for number, member in enumerate(self.members):
            own = run.member(number)
            try:
                states[str(number)] = member.fit(data, own)
            except Unsuitable as error:
                notice(f"{run.name}: left out: {error}")
                unsuitable = error
                continue
            check_state(states[str(number)], f"--{own.key} ({type(member).__name__})")
        if unsuitable and not states:
            raise unsuitable
        return states

    def update(self, state: dict[str, Any], old: TrainingData, new: TrainingData, run: Run) -> dict[str, Any]:
        """Members that were fitted follow the log, one after another; the weights stay."""
        members = {
            number: follow(self.members[int(number)], state["members"][number], old, new, run.member(int(number)))
            for number in _numbers(state)
        }
        found = state | {"members": members}
        self._check_catalogues(found, new.items, run)
        return found

    def _check_catalogues(self, state: dict[str, Any], items: int, run: Run) -> None:
        for number, scorer in zip(_numbers(state), self._scorers(state), strict=True):
            if scorer.items != items:
                raise UserError(
                    f"--{run.key}.members.{number} knows {scorer.items} items and the log has {items}: the members of "
                    "a blend share one catalogue"
                )

    def _choose(self, state: dict[str, Any], run: Run) -> np.ndarray:
        template = self.scorer(state)

        def quality(weights: np.ndarray) -> float:
            return run.validate(replace(template, state=state | {"weights": weights}))[run.select]

        members = [self.members[int(number)] for number in _numbers(state)]
        weights, best = select_ensemble(quality, len(members))
        names = (f"{type(member).__name__} {weight:g}" for member, weight in zip(members, weights, strict=True))
        notice(f"{run.name}: weights by validation {run.select} {best:.4f}: {', '.join(names)}")
        return weights

    def _scorers(self, state: dict[str, Any]) -> list[Scorer]:
        return [self.members[int(number)].scorer(state["members"][number]) for number in _numbers(state)]

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """The weighted sum."""
        functions = tuple(replace(scorer, state=None) for scorer in self._scorers(state))
        blended = standardized(functions) if self.standardized else _summed(functions)
        return replace(blended, state=state)

    def state_from(self, tree: dict[str, Any]) -> dict[str, Any]:
        """The members' states as their families have them."""
        stored = tree["members"]
        return tree | {"members": {n: self.members[int(n)].state_from(stored[n]) for n in _numbers(tree)}}

    def recipes(self, length: int, aligned: int = 0, soft: bool = False) -> dict[str, Any]:
        """Those of the members that are trained by gradients, for the plan."""
        return {
            f" {number}{part}": recipe
            for number, member in enumerate(self.members, 1)
            if isinstance(member, Planned)
            for part, recipe in member.recipes(length, aligned, soft).items()
        }

    def variations(self) -> dict[str, Model]:
        """One change of one member."""
        found: dict[str, Model] = {}
        for number, member in enumerate(self.members):
            for name, changed in member.variations().items():
                members = (*self.members[:number], changed, *self.members[number + 1 :])
                found[f"member {number}: {name}"] = replace(self, members=members)
        return found


def _numbers(state: dict[str, Any]) -> list[str]:
    """Numbers of the members that were fitted, in their order."""
    return sorted(state["members"], key=int)


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


@lru_cache(64)  # equal members share their functions, so that nothing is compiled twice
def _summed(scorers: tuple[Scorer, ...]) -> Scorer:
    """Scores times their scales, weighted; without a state."""
    scales = [scorer.scale or 1.0 for scorer in scorers]

    def encode(state: dict[str, Any], query: Query) -> tuple[Any, ...]:
        return tuple(scorer.encode(own, query) for scorer, own in zip(scorers, _states(state), strict=True))

    def encode_positions(state: dict[str, Any], batch: Any) -> tuple[Any, ...]:
        return tuple(positions_of(scorer, own, batch) for scorer, own in zip(scorers, _states(state), strict=True))

    def weighted(state: dict[str, Any], scores: list[jax.Array]) -> jax.Array:
        parts = (state["weights"][n] * scale * part for n, (scale, part) in enumerate(zip(scales, scores, strict=True)))
        return sum(parts, jnp.zeros(()))

    def score(state: dict[str, Any], encoded: tuple[Any, ...], ids: jax.Array) -> jax.Array:
        return weighted(state, [s.score(o, e, ids) for s, o, e in zip(scorers, _states(state), encoded, strict=True)])

    def score_positions(state: dict[str, Any], encoded: tuple[Any, ...], ids: jax.Array) -> jax.Array:
        members = zip(scorers, _states(state), encoded, strict=True)
        return weighted(state, [scores_of_positions(s, o, e, ids) for s, o, e in members])

    scale = 1.0 if all(scorer.scale for scorer in scorers) else None
    return Scorer(
        None,
        encode,
        score,
        scorers[0].items,
        encode_positions=encode_positions,
        score_positions=score_positions,
        scale=scale,
        reads=_reads(scorers),
    )


def _reads(scorers: tuple[Scorer, ...]) -> tuple[str, ...]:
    """The features that any of them reads."""
    return tuple(sorted({name for scorer in scorers for name in scorer.reads}))


def _states(state: dict[str, Any]) -> list[Any]:
    return [state["members"][number] for number in _numbers(state)]


class _Standardized(NamedTuple):
    """An encoding with the moments of its scores over the catalogue."""

    encoded: Any
    mean: jax.Array
    """float32 [B], or [B, L] of positions."""
    deviation: jax.Array
    """The same."""


@lru_cache(64)
def standardized(scorers: tuple[Scorer, ...]) -> Scorer:
    """Standard scores, weighted; without a state, which is {"members": states by number, "weights": float32 [M]}."""

    def encode(state: dict[str, Any], query: Query) -> tuple[_Standardized, ...]:
        found = []
        for scorer, own in zip(scorers, _states(state), strict=True):
            encoded = scorer.encode(own, query)
            found.append(_Standardized(encoded, *moments(partial(scorer.score, own, encoded), scorer.items)))
        return tuple(found)

    def encode_positions(state: dict[str, Any], batch: Any) -> tuple[_Standardized, ...]:
        found = []
        for scorer, own in zip(scorers, _states(state), strict=True):
            encoded = positions_of(scorer, own, batch)
            of_ids = partial(scores_of_positions, scorer, own, encoded)
            found.append(_Standardized(encoded, *moments(of_ids, scorer.items)))
        return tuple(found)

    def weighted(state: dict[str, Any], encoded: tuple[_Standardized, ...], scores: list[jax.Array]) -> jax.Array:
        parts = zip(state["weights"], encoded, scores, strict=True)
        standard = (weight * (x - own.mean[..., None]) / own.deviation[..., None] for weight, own, x in parts)
        return sum(standard, jnp.zeros(()))

    def score(state: dict[str, Any], encoded: tuple[_Standardized, ...], ids: jax.Array) -> jax.Array:
        members = zip(scorers, _states(state), encoded, strict=True)
        return weighted(state, encoded, [s.score(own, e.encoded, ids) for s, own, e in members])

    def score_positions(state: dict[str, Any], encoded: tuple[_Standardized, ...], ids: jax.Array) -> jax.Array:
        members = zip(scorers, _states(state), encoded, strict=True)
        return weighted(state, encoded, [scores_of_positions(s, own, e.encoded, ids) for s, own, e in members])

    return Scorer(
        None,
        encode,
        score,
        scorers[0].items,
        encode_positions=encode_positions,
        score_positions=score_positions,
        reads=_reads(scorers),
    )


def moments(score: Callable[[jax.Array], jax.Array], items: int) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of scores over the catalogue, for each request.

    A catalogue whose scores do not fit into one chunk is scored chunk by chunk. One chunk is scored as ``score`` of all
    items is, so that the compiler merges the two.

    Args:
        score: ids int32 [C] → float32 [..., C].
        items: N.

    Returns:
        float32 [...], [...].
    """
    shape = jax.eval_shape(score, jnp.zeros(1, jnp.int32)).shape[:-1]
    users = math.prod(side for side in shape if isinstance(side, int))
    chunks = -(-items // max(SCORES // users, 1024))
    if chunks == 1:
        scores = score(jnp.arange(items))
        return scores.mean(-1), jnp.maximum(scores.std(-1), _LEAST)
    size = -(-items // chunks)

    def add(total: jax.Array, start: jax.Array) -> tuple[jax.Array, None]:
        ids = start + jnp.arange(size)
        scores = jnp.where(ids < items, score(jnp.minimum(ids, items - 1)), 0)
        return total + jnp.stack([scores.sum(-1), (scores**2).sum(-1)]), None

    total, _ = jax.lax.scan(add, jnp.zeros((2, *shape)), jnp.arange(chunks) * size)
    mean, square = total / items
    return mean, jnp.maximum(jnp.sqrt(jnp.maximum(square - mean**2, 0)), _LEAST)
