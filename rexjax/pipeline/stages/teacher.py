"""Stage 3, teacher: a large sequential transformer learns from all histories."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from rexjax.artifacts.store import Artifact
from rexjax.compression import variants
from rexjax.config.schema import Config
from rexjax.encoders import reduce
from rexjax.errors import UserError
from rexjax.models import recommender
from rexjax.models.served import flatten
from rexjax.pipeline.stages import inputs
from rexjax.runtime import processes
from rexjax.runtime.mesh import make_mesh
from rexjax.training import objectives
from rexjax.training.checkpoint import save_tree
from rexjax.training.loop import Task, fit

MEMBER_SEEDS = 1_000_003
"""Between the seeds of two members."""


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes the trained teacher as it is served (``model/``: item matrix and history encoder) into ``folder``.

    Returns:
        The training summary and the digest of the parameters.
    """
    teacher, settings = config.teacher, config.teacher.training
    log = inputs.prepared(artifacts["prepare"])
    catalogue = inputs.catalogue(log, inputs.content_vectors(artifacts["encode"]))
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    _check(config, mesh.shape, log.items)
    inputs.check_time("teacher", teacher.time, log)
    if teacher.fusion != "add" and not catalogue.text.shape[1]:
        raise UserError(f"--teacher.fusion {teacher.fusion} needs the items' text, and --data.text names no column")
    batches = inputs.epochs(log, config, settings.batch, mesh)
    settings = inputs.with_decay(settings, batches)
    start = {"rows": _tuned_rows(catalogue.text, teacher.width)} if teacher.fusion == "tuned" else None
    summaries, members = [], []
    for number in range(teacher.members):
        name = "teacher" if teacher.members == 1 else f"teacher {number + 1}"
        model = recommender.member(teacher, config.data.length, number)
        objective = objectives.of_teacher(model, teacher)
        validate = inputs.validator(log, config, model, catalogue.text, settings.validate_users)
        task = Task(name, model, objective, inputs.without_lists(batches), validate, catalogue, start)
        seed = config.seed + number * MEMBER_SEEDS
        fitted = fit(task, settings, seed=seed, mesh=mesh, folder=folder, **inputs.run_settings(config))
        members.append(recommender.serve(model, fitted.params, catalogue.text, log.items))
        summaries.append(fitted.summary)
    digest = save_tree(folder / "model", flatten(recommender.side_by_side(members)))
    if processes.first():
        shutil.rmtree(folder / "checkpoints")
    return _summary(summaries) | {"content": {"model": digest}}


def _tuned_rows(text: np.ndarray, width: int) -> np.ndarray:
    """Where rows begin that are fine-tuned text: text [N, W] in its first D principal components, or as many as it has
    and zeros."""
    kept = min(width, *text.shape)
    rows = np.asarray(reduce.apply(reduce.fit(text, kept, "pca"), text))
    return np.pad(rows, ((0, 0), (0, width - kept)))


def _summary(members: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the first member, with its validation NDCG@10 averaged over all."""
    mean = sum(summary["valid_ndcg@10"] for summary in members) / len(members)
    return members[0] | {"valid_ndcg@10": mean, "members": [summary["valid_ndcg@10"] for summary in members]}


def _check(config: Config, shape: dict[str, int], items: int) -> None:
    teacher = config.teacher
    if teacher.loss != "full_softmax" and teacher.negatives >= items:
        raise UserError(
            f"--teacher.loss {teacher.loss} draws {teacher.negatives} negatives from a catalogue of {items} items: set "
            "--teacher.negatives lower, or --teacher.loss full_softmax"
        )
    # later stages would refuse these too, but only after the training
    for name, value in (
        ("evaluate.k", max(10, *config.evaluate.k)),
        ("student.list-length", config.student.list_length),
    ):
        if value > items:
            raise UserError(f"--{name} {value} is larger than the catalogue of {items} items")
    for name in config.compress.points:
        variants.parse(name, config.student.width)
    if teacher.width % teacher.heads or teacher.heads % shape["model"]:
        raise UserError(
            f"--teacher.heads {teacher.heads} must divide --teacher.width {teacher.width} and be divided by "
            f"--mesh.model {shape['model']}"
        )
    if teacher.training.batch % shape["data"]:
        raise UserError(
            f"--teacher.training.batch {teacher.training.batch} is not divided by {shape['data']} data devices"
        )
