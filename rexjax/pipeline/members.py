"""Which models make a teacher: members of a blend, from cheap to dear, each of which has to pay.

Counted models come first, then those that are trained by gradients. A member is kept if the blend with it is better on
validation than the blend without it by a paired interval over users. In the end each kept member has to pay once more,
beside those that came after it. Weights are cross-fitted: those of one half of the users are chosen on the other half,
so that a further weight alone improves nothing. Every fitted member is stored: killed, the search goes on where it was.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.artifacts import classes, lock, owned, workdirs
from rexjax.artifacts.files import write_json
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.evaluation import ranking
from rexjax.evaluation.metrics import rank_metrics
from rexjax.evaluation.ranking import Requests
from rexjax.evaluation.significance import Interval, paired_bootstrap
from rexjax.families.base import Model, Planned, TrainingData, Unsuitable, named
from rexjax.families.blend import Blend, select_ensemble, standardized
from rexjax.models.scorer import Query, Scorer, ask, score_matrix
from rexjax.pipeline import runner
from rexjax.pipeline.stages import inputs
from rexjax.pipeline.sweep import trial_key

FOLDER = "sweep/members"
"""Below the workdir."""
SCORES = 1 << 26
"""Scores of a member on validation: 256 MB; where the catalogue is large, fewer users are asked."""
_AT_ONCE = 256  # users


class Proposal(NamedTuple):
    """A member that was tried beside those that were kept before it."""

    name: str
    """Of the member, as in tables."""
    settings: dict[str, Any]
    """Its class and keys."""
    quality: float
    """``evaluate.select`` of the blend with it, on validation, weights cross-fitted."""
    gain: Interval
    """Over the blend without it; over nothing at all for the first."""
    seconds: float
    """Of fitting it."""
    kept: bool
    """The interval of the gain lies above 0."""


class Found(NamedTuple):
    """What the search led to."""

    proposals: list[Proposal]
    """In the order in which they were tried."""
    teacher: Model
    """The blend of what paid, or the one model that did."""
    skipped: list[str]
    """Names of members that the budget left no time for."""


class _Validation(NamedTuple):
    """What blends are judged by."""

    asked: Requests
    """U users, at most ``SCORES`` / N of them."""
    values: Callable[[Scorer], np.ndarray]
    """float64 [U], ``evaluate.select`` of each user, of a model whose queries are user numbers."""
    halves: tuple[np.ndarray, np.ndarray]
    """int64, the users of each half."""
    seed: int
    """Of the intervals."""


def propose(config: Config, minutes: float, say: Callable[[str], None], *, update: bool = False) -> Found:
    """Tries ``candidates(config)`` one after another; none is begun once the minutes are spent.

    Writes ``best.json``, the teacher's keys, into ``config.workdir``/sweep/members, beside the fitted members.

    Args:
        config: what to start from.
        minutes: of fitting, all members together, stored ones included.
        say: where lines of progress go.
        update: a workdir of another config is brought up to date, and not refused.

    Raises:
        UserError: the cheapest member alone takes more than the minutes, no member suits the log, a workdir of another
            config, or what a stage refuses.
    """
    runner.check(config, update=update)
    with lock.of(workdirs.folder_of(config.workdir)):
        return _search(config, minutes, say, update)


def candidates(config: Config) -> dict[str, Model]:
    """The baselines and the teacher's members, by name: counted models first, equal ones once."""
    teacher = config.teacher
    own = teacher.members if isinstance(teacher, Blend) else (teacher,)
    distinct = tuple(dict.fromkeys((*config.baselines, *own)))
    return named(tuple(sorted(distinct, key=lambda model: isinstance(model, Planned))))


def _search(config: Config, minutes: float, say: Callable[[str], None], update: bool) -> Found:
    artifacts = {
        made.stage: made.artifact for made in runner.run(config, ("prepare", "encode"), update=update, say=say)
    }
    folder = workdirs.folder_of(config.workdir) / FOLDER
    for place in (folder.parent, folder):
        owned.make(place)
    data = inputs.training_data(config, artifacts)
    validation = _validation(config, data)
    scores: dict[str, jax.Array] = {}
    proposals, skipped, spent = [], [], 0.0
    before = np.zeros(sum(map(len, validation.halves)))
    models = candidates(config)
    for name, model in models.items():
        if spent > 60 * minutes:
            skipped.append(name)
            continue
        try:
            found, seconds = _scores(
                config, data, name, model, folder / trial_key(config, model, artifacts), validation
            )
        except Unsuitable as error:
            say(f"{name}: left out: {error}")
            continue
        spent += seconds
        _check_budget(name, seconds, minutes, first=not proposals)
        values = _cross_fitted([*scores.values(), found], validation)
        gain = paired_bootstrap(values, before, validation.seed)
        proposals.append(Proposal(name, classes.as_dict(model), float(values.mean()), gain, seconds, gain.low > 0))
        say(_line(proposals[-1]))
        if proposals[-1].kept:
            scores[name], before = found, values
    if not scores:
        raise UserError(f"none of {', '.join(models)} recommends validation targets: try other models or a longer log")
    teacher = _teacher([models[name] for name in _what_still_pays(scores, before, validation, say)])
    write_json(folder / "best.json", classes.as_dict(teacher))
    return Found(proposals, teacher, skipped)


def _teacher(models: list[Model]) -> Model:
    return models[0] if len(models) == 1 else Blend(tuple(models))


def _check_budget(name: str, seconds: float, minutes: float, *, first: bool) -> None:
    if first and seconds > 60 * minutes:
        raise UserError(
            f"--minutes {minutes:g}: {name}, the cheapest member, took {seconds:.1f} seconds alone: give more"
        )


def _line(proposal: Proposal) -> str:
    low, high = proposal.gain.low, proposal.gain.high
    verdict = "kept" if proposal.kept else "does not pay"
    return (
        f"{proposal.name}: {proposal.quality:.4f}, gain {proposal.gain.difference:+.4f} ({low:+.4f} to {high:+.4f}), "
        f"{proposal.seconds:.0f} s: {verdict}"
    )


def _scores(
    config: Config, data: TrainingData, name: str, model: Model, place: Path, validation: _Validation
) -> tuple[jax.Array, float]:
    """The member's scores float32 [U, N] on validation and the seconds of its fit, which is kept in ``place``."""
    own = inputs.run_of(config, data, place, name, f"member {name}")
    state, seconds = inputs.fit_once(model, data, own, place)
    return jnp.asarray(_score(model.scorer(state), validation.asked)), seconds


def _score(scorer: Scorer, asked: Requests) -> np.ndarray:
    """Scores float32 [U, N] of all items for all users."""

    @jax.jit
    def answer(state: Any, query: Query) -> jax.Array:
        return scorer.score(state, scorer.encode(state, query), jnp.arange(scorer.items))

    users = len(asked.histories)
    found = np.empty((users, scorer.items), np.float32)
    for start in range(0, users, _AT_ONCE):
        rows = np.minimum(np.arange(start, start + _AT_ONCE), users - 1)
        times = None if asked.times is None else asked.times[rows]
        query = ask(scorer, asked.histories[rows], times, ranking.features_of(asked, rows))
        found[start : start + _AT_ONCE] = np.asarray(answer(scorer.state, query))[: users - start]
    return found


def _validation(config: Config, data: TrainingData) -> _Validation:
    asked = inputs.requests_of(data, "valid", max(SCORES // data.items, _AT_ONCE), config.seed)
    users = len(asked.histories)
    numbered = asked._replace(histories=np.arange(users, dtype=np.int32)[:, None], times=None, features={})
    select, measures = config.evaluate.select, rank_metrics(config.evaluate.known)
    ks = (config.evaluate.select_cutoff(data.items),)

    def values(scorer: Scorer) -> np.ndarray:
        found = ranking.evaluate(scorer, numbered, ks=ks, measures=measures, description="validating members")
        return np.asarray(found.per_user[select], np.float64)

    order = np.random.default_rng(config.seed).permutation(users)
    return _Validation(asked, values, (order[::2], order[1::2]), config.seed)


def _cross_fitted(scores: list[jax.Array], validation: _Validation) -> np.ndarray:
    """float64 [U], the blend's metric of each user, by weights that were chosen on the other half of the users."""
    state = {"members": {str(number): own for number, own in enumerate(scores)}}
    template = standardized(tuple(replace(score_matrix(own), state=None) for own in scores))
    known: dict[bytes, np.ndarray] = {}

    def values(weights: np.ndarray) -> np.ndarray:
        key = weights.tobytes()
        if key not in known:
            known[key] = validation.values(replace(template, state=state | {"weights": weights}))
        return known[key]

    def mean_over(users: np.ndarray, weights: np.ndarray) -> float:
        return float(values(weights)[users].mean())

    found = np.empty(sum(map(len, validation.halves)))
    for chosen_on, applied_to in (validation.halves, validation.halves[::-1]):
        weights, _ = select_ensemble(partial(mean_over, chosen_on), len(scores))
        found[applied_to] = values(weights)[applied_to]
    return found


def _what_still_pays(
    scores: dict[str, jax.Array], whole: np.ndarray, validation: _Validation, say: Callable[[str], None]
) -> list[str]:
    """Members whose removal costs something by a paired interval; the others go one after another."""
    kept = dict(scores)
    for name in scores:
        rest = {other: own for other, own in kept.items() if other != name}
        if not rest:
            break
        without = _cross_fitted(list(rest.values()), validation)
        if paired_bootstrap(whole, without, validation.seed).low <= 0:
            say(f"{name}: no longer pays beside the others, and goes")
            kept, whole = rest, without
    return list(kept)
