"""Which models make a teacher: members of a blend, from cheap to dear, each of which has to pay.

Counted models come first, then those that are trained by gradients. A member is kept if the blend with it is better on
validation than the blend without it by a paired interval over users. In the end each kept member has to pay once more,
beside those that came after it. Weights are cross-fitted: those of one half of the users are chosen on the other half,
so that a further weight alone improves nothing. Every fitted member is stored: killed, the search goes on where it was.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rexjax.artifacts import classes, lock, owned, workdirs
from rexjax.artifacts.files import write_json
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.evaluation import ranking
from rexjax.evaluation.metrics import rank_metrics
from rexjax.evaluation.significance import Interval, paired_bootstrap
from rexjax.families.base import Model, Planned, TrainingData, Unsuitable, fit, named
from rexjax.families.blend import Blend, select_ensemble
from rexjax.models.scorer import Scorer
from rexjax.pipeline import runner
from rexjax.pipeline.stages import inputs
from rexjax.pipeline.sweep import trial_key

FOLDER = "sweep/members"
"""Below the workdir."""


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

    values: Callable[[Scorer], np.ndarray]
    """float64 [U], ``evaluate.select`` of each user."""
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
    states: dict[str, Any] = {}
    models: dict[str, Model] = {}
    kept: list[str] = []
    proposals, skipped, spent, before = [], [], 0.0, None
    for name, model in candidates(config).items():
        if spent > 60 * minutes:
            skipped.append(name)
            continue
        place = folder / trial_key(config, model, artifacts)
        try:
            state, seconds = _fitted(config, data, name, model, place)
        except Unsuitable as error:
            say(f"{name}: left out: {error}")
            continue
        spent += seconds
        _check_budget(name, seconds, minutes, first=not proposals)
        states[name], models[name] = state, model
        values = _cross_fitted([*kept, name], models, states, validation)
        gain = paired_bootstrap(values, np.zeros_like(values) if before is None else before, validation.seed)
        proposal = Proposal(name, classes.as_dict(model), float(values.mean()), gain, seconds, gain.low > 0)
        proposals.append(proposal)
        say(_line(proposal))
        if proposal.kept:
            kept, before = [*kept, name], values
    if before is None:
        raise UserError(f"none of {', '.join(candidates(config))} recommends an item that a validation user took next")
    kept = _without_what_no_longer_pays(kept, before, models, states, validation, say)
    teacher = models[kept[0]] if len(kept) == 1 else Blend(tuple(models[name] for name in kept))
    write_json(folder / "best.json", classes.as_dict(teacher))
    return Found(proposals, teacher, skipped)


def _check_budget(name: str, seconds: float, minutes: float, *, first: bool) -> None:
    if first and seconds > 60 * minutes:
        raise UserError(
            f"--minutes {minutes:g}: {name}, the cheapest member, took {seconds / 60:.1f} minutes alone: give more"
        )


def _line(proposal: Proposal) -> str:
    low, high = proposal.gain.low, proposal.gain.high
    verdict = "kept" if proposal.kept else "does not pay"
    return (
        f"{proposal.name}: {proposal.quality:.4f}, gain {proposal.gain.difference:+.4f} ({low:+.4f} to {high:+.4f}), "
        f"{proposal.seconds:.0f} s: {verdict}"
    )


def _fitted(config: Config, data: TrainingData, name: str, model: Model, place: Path) -> tuple[Any, float]:
    """The member's state and the seconds of its fit, from ``place`` if it was fitted before."""
    done = place / "seconds.json"
    if done.exists():
        return inputs.fitted(place / "model", model), json.loads(done.read_text())
    place.mkdir(exist_ok=True)
    started = time.monotonic()
    state = fit(model, data, inputs.run_of(config, data, place, name, f"member {name}"))
    seconds = time.monotonic() - started
    inputs.save(place / "model", state)
    write_json(done, seconds)
    return state, seconds


def _validation(config: Config, data: TrainingData) -> _Validation:
    asked = inputs.requests_of(data, "valid")
    select, measures = config.evaluate.select, rank_metrics(config.evaluate.known)
    ks = (config.evaluate.select_cutoff(data.items),)

    def values(scorer: Scorer) -> np.ndarray:
        found = ranking.evaluate(scorer, asked, ks=ks, measures=measures, description="validating members")
        return np.asarray(found.per_user[select], np.float64)

    order = np.random.default_rng(config.seed).permutation(len(asked.histories))
    return _Validation(values, (order[::2], order[1::2]), config.seed)


def _cross_fitted(
    names: list[str], models: dict[str, Model], states: dict[str, Any], validation: _Validation
) -> np.ndarray:
    """float64 [U], the blend's metric of each user, by weights that were chosen on the other half of the users."""
    blend = Blend(tuple(models[name] for name in names))
    state = {"members": {str(number): states[name] for number, name in enumerate(names)}}
    template = blend.scorer(state | {"weights": np.ones(len(names), np.float32)})
    known: dict[bytes, np.ndarray] = {}

    def values(weights: np.ndarray) -> np.ndarray:
        key = weights.tobytes()
        if key not in known:
            known[key] = validation.values(replace(template, state=state | {"weights": weights}))
        return known[key]

    found = np.empty(sum(map(len, validation.halves)))
    for chosen_on, applied_to in (validation.halves, validation.halves[::-1]):
        weights, _ = select_ensemble(lambda tried, users=chosen_on: float(values(tried)[users].mean()), len(names))
        found[applied_to] = values(weights)[applied_to]
    return found


def _without_what_no_longer_pays(
    kept: list[str],
    whole: np.ndarray,
    models: dict[str, Model],
    states: dict[str, Any],
    validation: _Validation,
    say: Callable[[str], None],
) -> list[str]:
    """Members whose removal costs something by a paired interval; the others go one after another."""
    for name in list(kept):
        rest = [other for other in kept if other != name]
        if not rest:
            break
        without = _cross_fitted(rest, models, states, validation)
        if paired_bootstrap(whole, without, validation.seed).low <= 0:
            say(f"{name}: no longer pays beside the others, and goes")
            kept, whole = rest, without
    return kept
