"""A model that answers each user without having learnt from that user."""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError
from rexjax.families.base import Model, Run, TrainingData, check_state
from rexjax.families.linear import Ease
from rexjax.families.log_changes import restrict_to_users
from rexjax.models.scorer import USER, Query, Scorer, positions_of, scores_of_positions
from rexjax.models.user_rows import users_of, users_of_batch

HALVES = 2


@dataclass(frozen=True)
class CrossFitted(Model):
    """One model fitted twice, on each half of the users, so that a user is answered by the fit that has not met them.

    A model that has met a history says with too much confidence what did happen in it. Cross-fitting (Chernozhukov et
    al. 2018) takes that away from what a student is taught. Users that the log does not know get the mean of both.
    """

    model: Model = field(default_factory=Ease)
    """What is fitted."""

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Fits on one half after the other.

        Returns:
            {"fits": states by "0" and "1", "half": int32 [U], the fit that answers each user}.

        Raises:
            UserError: the model has rows of users.
        """
        order = np.random.default_rng(run.seed).permutation(data.log.users)
        half = (order % HALVES).astype(np.int32)
        fits = {}
        for number in range(HALVES):
            own = replace(run, name=f"{run.name} half {number + 1}")
            fits[str(number)] = self.model.fit(restrict_to_users(data, np.flatnonzero(half != number)), own)
            check_state(fits[str(number)], f"{run.key} ({type(self.model).__name__})")
            if USER in self.model.scorer(fits[str(number)]).reads:
                name = type(self.model).__name__
                raise UserError(
                    f"{run.key} is {name}, which has a row for each user that it met: it cannot be cross-fitted"
                )
        return {"fits": fits, "half": half}

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """Both fits, of which one answers."""
        fits = tuple(replace(self.model.scorer(state["fits"][str(number)]), state=None) for number in range(HALVES))
        return replace(_chosen(fits), state=state)

    def state_from(self, tree: dict[str, Any]) -> dict[str, Any]:
        """The fits' states as their family has them."""
        return tree | {"fits": {number: self.model.state_from(own) for number, own in tree["fits"].items()}}

    def variations(self) -> dict[str, Model]:
        """Those of the model."""
        return {name: replace(self, model=model) for name, model in self.model.variations().items()}


@cache  # equal models share their functions, so that nothing is compiled twice
def _chosen(fits: tuple[Scorer, ...]) -> Scorer:
    def encode(state: dict[str, Any], query: Query) -> dict[str, Any]:
        encoded = [fit.encode(own, query) for fit, own in zip(fits, _states(state), strict=True)]
        return {"fits": encoded, "weights": _weights(state["half"], users_of(query))}

    def encode_positions(state: dict[str, Any], batch: Any) -> dict[str, Any]:
        encoded = [positions_of(fit, own, batch) for fit, own in zip(fits, _states(state), strict=True)]
        return {"fits": encoded, "weights": _weights(state["half"], users_of_batch(batch))}

    def score(state: dict[str, Any], encoded: dict[str, Any], ids: jax.Array) -> jax.Array:
        scores = [f.score(o, e, ids) for f, o, e in zip(fits, _states(state), encoded["fits"], strict=True)]
        return _weighted(scores, encoded["weights"])

    def score_positions(state: dict[str, Any], encoded: dict[str, Any], ids: jax.Array) -> jax.Array:
        members = zip(fits, _states(state), encoded["fits"], strict=True)
        return _weighted([scores_of_positions(f, o, e, ids) for f, o, e in members], encoded["weights"])

    reads = tuple(sorted({USER, *(name for fit in fits for name in fit.reads)}))
    return Scorer(
        None,
        encode,
        score,
        fits[0].items,
        encode_positions=encode_positions,
        score_positions=score_positions,
        scale=fits[0].scale,
        reads=reads,
    )


def _states(state: dict[str, Any]) -> list[Any]:
    return [state["fits"][str(number)] for number in range(HALVES)]


def _weights(half: jax.Array, users: jax.Array) -> jax.Array:
    """float32 [..., 2]: 1 for the fit that answers, halves for users that the log does not know."""
    one = jax.nn.one_hot(jnp.asarray(half)[jnp.maximum(users, 0)], HALVES)
    return jnp.where(users[..., None] >= 0, one, 1 / HALVES)


def _weighted(scores: list[jax.Array], weights: jax.Array) -> jax.Array:
    return sum((weights[..., n, None] * own for n, own in enumerate(scores)), jnp.zeros(()))
