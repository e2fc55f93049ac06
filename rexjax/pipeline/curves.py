"""Learning curves: a model's validation metric by share of the log, by epoch, and by size of the catalogue.

Every point is one fit, judged on validation: nothing here looks at the test. Points by share of the log answer the
same requests. Points by catalogue answer those that are left in a smaller catalogue, where even a random order scores
higher, so its expected metric stands beside.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from rexjax.artifacts import lock, owned, workdirs
from rexjax.artifacts.files import write_json
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.evaluation import drawings, ranking, significance, svg
from rexjax.evaluation.metrics import RankMetric, split_name
from rexjax.evaluation.ranking import Requests
from rexjax.families import parts_of_logs
from rexjax.families.base import Model, TrainingData, fit
from rexjax.models.scorer import Scorer, dot_product
from rexjax.pipeline import runner
from rexjax.pipeline.stages import inputs

FOLDER = "curves"
"""Below a workdir."""
SHARES = (0.1, 0.25, 0.5, 1.0)


class Asked(NamedTuple):
    """What is drawn."""

    of: Literal["teacher", "student"] = "teacher"
    """The config's teacher, or its student's model on labels alone."""
    by: Literal["users", "time"] = "users"
    """A share of the log is that of its users, drawn by the seed, or that of its training events, the latest."""
    shares: tuple[float, ...] = SHARES
    """Shares of the log."""
    catalogues: tuple[float, ...] = SHARES
    """Shares of the items, drawn by the seed."""


def run(
    config: Config, say: Callable[[str], None], asked: Asked | None = None, *, update: bool = False
) -> dict[str, Any]:
    """Fits the model on each part; writes ``curves.json`` and ``curves.svg`` below ``config.workdir``/curves.

    Args:
        config: the experiment; stages prepare and encode are run first.
        say: where lines of progress go.
        asked: model and parts; None: ``Asked()``.
        update: a workdir of another config is brought up to date, and not refused.

    Returns:
        ``select``, ``of``, ``by``; ``log`` and ``catalogue``: lists of ``{"share", "users", "items", "events", METRIC,
        "low", "high", "random"}``; ``epochs``: a list of ``{"epoch", METRIC}``, empty for models without epochs.

    Raises:
        UserError: a share that is not above 0 and at most 1, a workdir of another config, or what a stage refuses.
    """
    asked = asked or Asked()
    _check(asked)
    runner.check(config, update=update)
    with lock.of(workdirs.folder_of(config.workdir)):
        made = {one.stage: one.artifact for one in runner.run(config, ("prepare", "encode"), update=update, say=say)}
        folder = workdirs.folder_of(config.workdir) / FOLDER
        owned.make(folder)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # of a killed run, perhaps of another config
        found = of_data(config, inputs.training_data(config, made), folder, say, asked)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        write_json(folder / "curves.json", found)
        (folder / "curves.svg").write_text(svg.document(draw(found)), encoding="utf-8")
    return found


def _check(asked: Asked) -> None:
    for name in ("shares", "catalogues"):
        values = getattr(asked, name)
        if not values or any(not 0 < value <= 1 for value in values):
            said = " ".join(f"{value:g}" for value in values)
            raise UserError(f"--{name} {said}: name one or more, each above 0 and at most 1")


def of_data(
    config: Config, data: TrainingData, folder: Path, say: Callable[[str], None], asked: Asked
) -> dict[str, Any]:
    """The curves of a log that is in memory; see ``run``."""
    model = config.teacher if asked.of == "teacher" else config.student.model
    select, epochs, points = config.evaluate.select, [], dict[str, dict[str, Any]]()
    for curve, shares in (("log", asked.shares), ("catalogue", asked.catalogues)):
        for share in sorted(shares):
            name = f"{asked.of}_{curve}_{share:g}" if share < 1 else asked.of
            if name in points:  # the whole log is the whole catalogue
                continue
            part, whole = _part(config, data, curve, asked.by, share)
            points[name], summary = _point(config, model, part, whole, folder, name)
            say(f"{name}: {select} {points[name][select]:.4f} on validation")
            if share == 1:
                epochs = _by_epoch(summary, select)
    found = {"select": select, "of": asked.of, "by": asked.by, "epochs": epochs}
    for curve, shares in (("log", asked.shares), ("catalogue", asked.catalogues)):
        names = {share: f"{asked.of}_{curve}_{share:g}" if share < 1 else asked.of for share in sorted(shares)}
        found[curve] = [{"share": share} | points[name] for share, name in names.items()]
    return found


def _part(config: Config, data: TrainingData, curve: str, by: str, share: float) -> tuple[TrainingData, TrainingData]:
    """What a model is fitted on, and the log whose validation it answers."""
    if share == 1:
        return data, data
    if curve == "catalogue":
        smaller = parts_of_logs.with_items(data, share, config.seed)
        return smaller, smaller
    if by == "users":
        return parts_of_logs.with_users(data, share, config.seed), data
    return parts_of_logs.with_latest(data, share), data


def _point(
    config: Config, model: Model, part: TrainingData, whole: TrainingData, folder: Path, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One point of a curve, and the summary of its training."""
    own = inputs.run_of(config, whole, folder, name, "teacher")
    scorer = model.scorer(fit(model, part, own))
    asked, select = inputs.requests_of(whole, "valid"), config.evaluate.select
    values = _values(config, scorer, asked, name)
    estimate = significance.bootstrap_mean(values, config.seed, config.evaluate.resamples)
    random = dot_product(_nothing, jnp.zeros((whole.items, 1)))
    return {
        "users": int((part.log.valid_start > part.log.offsets[:-1]).sum()),
        "items": part.items,
        "events": len(part.events()[1]),
        select: float(values.mean()),
        "low": estimate.low,
        "high": estimate.high,
        "random": float(_values(config, random, asked, "random order").mean()),
    }, own.summaries.get(name, {})


def _values(config: Config, scorer: Scorer, asked: Requests, name: str) -> np.ndarray:
    """float64 [U], the metric that selects."""
    known = config.evaluate.known
    metric, k = split_name(config.evaluate.select, known, "evaluate.select", scorer.items)
    measures = [one for one in known.values() if one.name == metric and isinstance(one, RankMetric)]
    found = ranking.evaluate(scorer, asked, ks=(k,), measures=measures, description=f"ranking, {name}")
    return found.per_user[config.evaluate.select]


def _nothing(histories: Any, times: Any = None) -> Any:
    """One score for all items: the metric is that of a random order."""
    return jnp.zeros((len(histories), 1))


def _by_epoch(summary: dict[str, Any], select: str) -> list[dict[str, float]]:
    return [{"epoch": row["epoch"], select: row[select]} for row in summary.get("curve", ()) if select in row]


def draw(found: dict[str, Any]) -> str:
    """One picture of the curves, one below the other."""
    select = found["select"]
    unit = "users" if found["by"] == "users" else "latest training events"
    panels = [
        drawings.growth(f"{select} on validation by share of the log", _line(found["log"], "events", select), _EVENTS),
        drawings.growth(f"{select} by size of the catalogue", _line(found["catalogue"], "items", select), "items"),
    ]
    if found["epochs"]:
        panels.append(drawings.training(f"{select} per epoch, all {unit}", {found["of"]: found["epochs"]}, select))
    return drawings.stacked(f"Learning curves of the {found['of']}", panels)


_EVENTS = "training events"


def _line(points: Sequence[dict[str, Any]], size: str, select: str) -> list[drawings.Grown]:
    return [
        drawings.Grown(point[size], point[select], point["low"], point["high"], point["random"]) for point in points
    ]
