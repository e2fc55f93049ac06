"""Stage evaluate: every model before one evaluator."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from rexjax.artifacts.classes import as_dict
from rexjax.artifacts.files import write_json
from rexjax.artifacts.hashing import arrays_digest, digest
from rexjax.artifacts.store import Artifact
from rexjax.artifacts.workdirs import SEGMENTS
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.evaluation import (
    comparison,
    confidence,
    examples,
    propensity,
    requests,
    reranked,
    segments,
    significance,
    truth,
    verdict,
)
from rexjax.evaluation.metrics import ListContext, check_cutoffs
from rexjax.evaluation.models import TIMES, costs_of, quality_of, top_lists
from rexjax.evaluation.ranking import Requests
from rexjax.evaluation.report import write_report
from rexjax.evaluation.segments import Segment
from rexjax.families.base import TrainingData, named
from rexjax.models.scorer import Scorer
from rexjax.pipeline import compare, tables
from rexjax.pipeline.stages import inputs
from rexjax.rerank.lists import check


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes ``metrics.json``, ``report.html`` and the metrics of each user into ``folder``.

    Returns:
        Per model, quality on validation and test and the cost of a request; intervals of the differences; the verdict.
    """
    data = inputs.training_data(config, artifacts)
    check_cutoffs(cutoffs(config), data.items, "evaluate.k", config.evaluate.known)
    asked = {part: inputs.requests_of(data, part) for part in ("valid", "test")}
    context = inputs.list_context(data, artifacts)
    settings, scorers = config.evaluate, models_of(config, artifacts)
    correction = _correction(data, asked["test"], settings.largest_weight)
    models, per_user = _measured(config, data, asked, scorers, context, correction)
    card, titles = artifacts["prepare"].metrics, inputs.titles(artifacts["prepare"])
    selecting = {name: found[settings.select] for name, found in per_user.items()}
    comparisons = _comparisons(models, selecting, config)
    values, served = compare.stored(per_user, settings.shown), f"student_{config.compress.serve}"
    parts = segments.of_users(data.log, asked["test"], data.popularity, titles.get("category"))
    found = {
        "dataset": {name: card[name] for name in ("users", "items", "interactions", "density", "split", "test_users")},
        "models": models,
        "comparisons": comparisons,
        **_by_segment(parts, data, asked["test"], selecting, served, titles),
        **_by_truth(config, artifacts, data, scorers),
        **({"propensity": correction.facts} if correction else {}),
        **_reranked(config, {name: scorers[name] for name in _columns(models, config, served)}, asked, context),
        "select": settings.select,
        "served": served,
        "test": requests.identity(asked["test"], titles["item_id"]),
        "verdict": verdict.lines(
            models,
            select=settings.select,
            baselines=tuple(named(config.baselines)),
            served=served,
            training=training_of(artifacts),
            card=card,
            against_teacher=next((row for row in comparisons if row["name"] == f"{served} - teacher"), None),
        ),
    }
    write_json(folder / "metrics.json", found)
    of_user = {part.name: np.asarray(part.values)[part.of_user] for part in parts}
    np.savez_compressed(folder / compare.FILE, **values)
    np.savez_compressed(folder / SEGMENTS, **of_user)
    write_report(
        folder / "report.html",
        found,
        card=card,
        curves=curves_of(artifacts),
        columns=_columns(models, config, served),
        shown=settings.shown,
        examples=_examples(scorers[served], asked["test"], titles, config),
        about={"date": str(date.today()), "seed": config.seed, "config": as_dict(config)},
    )
    content = dict.fromkeys(("metrics.json", "report.html"), digest(_timeless(found)))
    return found | {"content": content | {compare.FILE: arrays_digest(values), SEGMENTS: arrays_digest(of_user)}}


def _measured(
    config: Config,
    data: TrainingData,
    asked: dict[str, Requests],
    scorers: dict[str, Scorer],
    context: ListContext,
    correction: propensity.Correction | None,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, np.ndarray]]]:
    """Quality, cost and calibration of each model; and the test's metrics of each user."""
    models, per_user, settings = dict[str, dict[str, Any]](), dict[str, dict[str, np.ndarray]](), config.evaluate
    sample = {part: inputs.requests_of(data, part, confidence.USERS, config.seed) for part in asked}
    costs = costs_of(scorers, config.data.length, settings.latency_repeats, config.seed)
    for name, scorer in scorers.items():
        results = quality_of(name, scorer, asked, cutoffs(config), settings.known, context)
        models[name] = {"quality": {part: result.means for part, result in results.items()}, "cost": costs[name]}
        models[name]["calibration"] = confidence.calibration_of(scorer, sample)
        if results["test"].spread:
            models[name]["tie_spread"] = results["test"].spread
        per_user[name] = results["test"].per_user
        if correction:
            models[name]["corrected"] = propensity.correct(name, scorer, correction, results["test"])
        mean = significance.bootstrap_mean(per_user[name][settings.select], config.seed, settings.resamples)
        models[name]["interval"] = {settings.select: [mean.low, mean.high]}
    return models, per_user


def _correction(data: TrainingData, asked: Requests, largest: float) -> propensity.Correction | None:
    """Weights of the test's targets; None where the log has no propensities."""
    return propensity.correction(data.log, asked, data.items, largest) if len(data.log.propensities) else None


def _examples(scorer: Scorer, asked: Requests, titles: dict[str, list[Any]], config: Config) -> list[dict[str, Any]]:
    """Ten users of the test, drawn by the seed, and what is recommended to them."""
    users, k = examples.some(asked, config.seed), min(5, len(titles["title"]))
    return examples.of_users(scorer, asked, users, titles["title"].__getitem__, k)


def _reranked(
    config: Config,
    scorers: dict[str, Scorer],
    asked: dict[str, Requests],
    context: ListContext,
) -> dict[str, Any]:
    """``rerank``: lists of some models before and after re-ranking, if the config names a method."""
    method = config.rerank
    if not method.candidates:
        return {}
    known, k = inputs.rerank_catalogue(config, context), min(10, context.items)
    check(method, known, k)
    models = {
        name: reranked.before_and_after(method, known, scorer, asked, context, k) for name, scorer in scorers.items()
    }
    return {"rerank": {"method": type(method).__name__, "k": k, "models": models}}


def _by_segment(
    parts: list[Segment],
    data: TrainingData,
    asked: Requests,
    per_user: dict[str, np.ndarray],
    served: str,
    titles: dict[str, list[Any]],
) -> dict[str, Any]:
    """``segments`` of all models, and the ``worst`` users and items of what is served."""
    spell = titles["title"].__getitem__
    values = per_user[served]
    worst = {
        "users": segments.worst_users(values, asked, spell),
        "items": segments.worst_items(values, asked, spell, data.popularity),
    }
    return {"segments": segments.table(parts, per_user), "worst": worst}


def _by_truth(
    config: Config, artifacts: dict[str, Artifact], data: TrainingData, scorers: dict[str, Scorer]
) -> dict[str, Any]:
    """``truth``: expected DCG of each model's test lists, if the source knows its users' preference."""
    asked = inputs.requests_of(data, "test", truth.USERS, config.seed)
    preference = inputs.preference_of(config, artifacts, data, asked)
    if preference is None or len(asked.histories) < 2:
        return {}
    lists = {name: top_lists(scorer, asked, min(10, data.items)) for name, scorer in scorers.items()}
    worth = truth.expected_dcg(lists, asked, preference, data.items)
    return {
        "truth": {
            name: {
                "expected_dcg@10": float(values.mean()),
                "of_oracle": float(values.mean() / worth[truth.ORACLE].mean()),
                "regret": _difference(worth[truth.ORACLE], values),
                "against_teacher": _difference(values, worth["teacher"]),
            }
            for name, values in worth.items()
        }
    }


def _difference(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    found = comparison.compare(a, b)
    return found._asdict() | {"equal": found.equal}


def cutoffs(config: Config) -> tuple[int, ...]:
    """Cut-offs of the metrics, with 10 and that of ``evaluate.select``."""
    return tuple(sorted({*config.evaluate.k, 10, config.evaluate.select_cutoff()}))


def _timeless(found: dict[str, Any]) -> dict[str, Any]:
    """Without what the clock measured: that is another thing each time."""
    models = {name: model | {"cost": _without_times(model["cost"])} for name, model in found["models"].items()}
    return found | {"models": models, "verdict": []}


def _without_times(of_request: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in of_request.items() if name not in TIMES}


def models_of(config: Config, artifacts: dict[str, Artifact]) -> dict[str, Scorer]:
    """Every model that can answer, of those stages that are among ``artifacts``."""
    found: dict[str, Scorer] = {}
    if "baselines" in artifacts:
        for name, model in named(config.baselines).items():
            if name in artifacts["baselines"].metrics["valid"]:
                found[name] = model.scorer(inputs.fitted(artifacts["baselines"].folder / name, model))
    if "teacher" in artifacts:
        state = inputs.fitted(artifacts["teacher"].folder / "model", config.teacher)
        found["teacher"] = config.teacher.scorer(state)
    student = config.student.model
    if "distill" in artifacts:
        for name, place in (("student", "student"), ("student_control", "control")):
            found[name] = student.scorer(inputs.fitted(artifacts["distill"].folder / place, student))
    if "compress" in artifacts:
        for name in config.compress.variants:
            model = inputs.variant_model(artifacts["compress"], name)
            found[f"student_{name}"] = model.scorer(inputs.fitted(artifacts["compress"].folder / name, model))
    return found


def training_of(artifacts: dict[str, Artifact]) -> dict[str, dict[str, Any]]:
    """Training summaries of the teacher, the student and its control, by name."""
    return artifacts["teacher"].metrics["training"] | artifacts["distill"].metrics["training"]


def curves_of(artifacts: dict[str, Artifact]) -> dict[str, list[dict[str, float]]]:
    """One entry an epoch, by the model's name."""
    return {name: summary["curve"] for name, summary in training_of(artifacts).items()}


def _columns(models: dict[str, Any], config: Config, served: str) -> tuple[str, ...]:
    """What is served, its teacher, and the best simple model on validation: the columns of a report's segments."""
    return tuple(name for name in (served, "teacher", _best_simple(models, config)) if name in models)


def _best_simple(models: dict[str, Any], config: Config) -> str:
    """Name of the best baseline on validation; '' where there is none."""
    simple = [name for name in named(config.baselines) if name in models]
    select = config.evaluate.select
    return max(simple, key=lambda name: models[name]["quality"]["valid"][select], default="")


def _comparisons(models: dict[str, Any], per_user: dict[str, np.ndarray], config: Config) -> list[dict[str, Any]]:
    select = config.evaluate.select
    pairs = [("student", "student_control"), ("student", "teacher")]
    pairs += [(f"student_{name}", "student") for name in config.compress.variants]
    pairs.append((f"student_{config.compress.serve}", "teacher"))
    if best := _best_simple(models, config):
        pairs += [("teacher", best), ("student", best)]
    if len(per_user["teacher"]) < 2:
        return []
    found = [comparison.compare(per_user[a], per_user[b], config.evaluate.margin) for a, b in pairs]
    adjusted = comparison.holm(np.array([one.p for one in found]))
    rows = zip(pairs, found, adjusted, strict=True)
    return [
        {"name": f"{a} - {b}", "metric": select, **one._asdict(), "equal": one.equal, "p_adjusted": float(p)}
        for (a, b), one, p in rows
    ]


def show(metrics: dict[str, Any], config: Config) -> list[Any]:
    """Tables of quality and cost, differences, the verdict."""
    models = metrics["models"]
    return [
        *tables.models(models, config.evaluate.exclude_seen, config.evaluate.shown),
        tables.savings(models, config.evaluate.select),
        *tables.corrected(models, metrics.get("propensity", {}), metrics.get("truth", {})),
        *tables.comparisons(metrics["comparisons"]),
        *tables.reranked(metrics.get("rerank", {})),
        "",
        *metrics["verdict"],
    ]


STAGE = Stage(
    name="evaluate",
    run=run,
    needs=("prepare", "encode", "baselines", "teacher", "distill", "compress"),
    keys=(
        "seed",
        "data.length",
        "baselines",
        "teacher",
        "student.model",
        "compress.variants",
        "compress.serve",
        "evaluate",
        "rerank",
    ),
    packages=("jax", "jaxlib", "numpy"),
    what="one evaluator for all models: quality, cost, report, verdict",
    show=show,
)
