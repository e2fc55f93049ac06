"""Stage 5, compress: the student with fewer dimensions, bits or weights, each point trained to bear its loss."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rexjax.artifacts.store import Artifact
from rexjax.compression import prune, variants
from rexjax.compression.variants import Point
from rexjax.config.schema import Config, Training
from rexjax.distillation import teacher_lists
from rexjax.evaluation.cost import tree_bytes
from rexjax.models import recommender
from rexjax.models.served import Served, flatten
from rexjax.pipeline.stages import inputs
from rexjax.runtime import processes
from rexjax.runtime.mesh import make_mesh
from rexjax.training import objectives
from rexjax.training.checkpoint import save_tree
from rexjax.training.loop import Task, fit

_STEPS = 3
"""In which weights become zero."""


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes a student for each point of ``compress.points`` into ``folder``.

    Returns:
        Bytes before and after, validation NDCG@10 of what was trained, digests.
    """
    chosen = [variants.parse(name, config.student.width) for name in config.compress.points]
    student = inputs.served(artifacts["distill"].folder / "student")
    made, summaries = {}, {}
    for point in chosen:
        small = variants.narrowed(student, point, config.student.encoder)
        if needs_training(point, config):
            small, summaries[point.name] = train(config, point, small, folder, artifacts)
        made[point.name] = variants.quantized(small, point)
    content = {name: save_tree(folder / name, flatten(served)) for name, served in made.items()}
    if processes.first():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return {
        "bytes": {"student": tree_bytes(student)} | {name: tree_bytes(served) for name, served in made.items()},
        "training": summaries,
        "content": content,
    }


def needs_training(point: Point, config: Config) -> bool:
    """int8 alone loses nothing that training could bring back."""
    return point.bits == 4 or point.width < config.student.width or point.zeros > 0


def list_weight(config: Config, point: Point) -> float:
    """Of the teacher's lists while a point is trained on: the narrower it is, the less of a label it can bear."""
    return 1 - (1 - config.student.list_weight[-1]) * point.width / config.student.width


def train(
    config: Config, point: Point, start: Served, folder: Path, artifacts: dict[str, Artifact]
) -> tuple[Served, dict[str, Any]]:
    """Goes on from ``start`` with the student's objective, items as the point would round them; and the summary.

    Weights become zero in a few steps, after each of which what is left is trained on.
    """
    if not point.zeros:
        return _fit(config, point, point.name, start, None, config.compress.training, folder, artifacts)
    settings, summary = config.compress.training, {}
    part = replace(settings, epochs=max(1, settings.epochs // _STEPS))
    for number, share in enumerate(prune.gradually(point.zeros / 100, _STEPS), 1):
        start = start._replace(history=prune.magnitude_prune(start.history, share))
        thinning = partial(prune.keep_zeros, pruned=start.history)
        start, summary = _fit(config, point, f"{point.name}_{number}", start, thinning, part, folder, artifacts)
    return start, summary


def _fit(
    config: Config,
    point: Point,
    name: str,
    start: Served,
    thinning: Callable[[Any], Any] | None,
    settings: Training,
    folder: Path,
    artifacts: dict[str, Artifact],
) -> tuple[Served, dict[str, Any]]:
    log = inputs.prepared(artifacts["prepare"])
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    student = replace(config.student, width=point.width, dropout=config.compress.dropout)
    model = recommender.student(student, config.data.length)
    model = replace(model, rounding=partial(variants.rounded, point=point), thinning=thinning)
    met = log.popularity > 0  # the rows of others stay as their text made them, and no list names them
    catalogue = inputs.catalogue(log, np.zeros((log.items, 0)), student.prior)
    catalogue = catalogue._replace(scored=None if met.all() else met)
    batches = inputs.epochs(log, config, settings.batch, mesh)
    share = list_weight(config, point)
    last = replace(student, list_weight=(share,), list_temperature=student.list_temperature[-1:])
    task = Task(
        name,
        model,
        objectives.distilled(model, student.ranking_weight),
        teacher_lists.taught(batches, artifacts["distill"].folder, last, settings.epochs, catalogue.scored),
        inputs.validator(log, config, model, catalogue.text, settings.validate_users),
        catalogue,
        start={"items": {}, "history": start.history, "rows": start.items},
    )
    settings = inputs.with_decay(settings, batches)
    fitted = fit(task, settings, seed=config.seed, mesh=mesh, folder=folder, **inputs.run_settings(config))
    model = replace(model, rounding=None, thinning=None)
    return recommender.serve(model, fitted.params, catalogue.text, log.items), fitted.summary
