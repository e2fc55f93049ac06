"""Stage distill: the student learns from labels and the teacher's top-k; its control learns from labels alone."""

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.data import batches
from rexjax.data.batches import Batch
from rexjax.distillation import teacher_top_k
from rexjax.distillation.calibration import logit_scale
from rexjax.embedding.rows import plain_rows
from rexjax.errors import UserError
from rexjax.families.base import Distillable, Run, SoftTargets, TrainingData, fit, need, need_vectors
from rexjax.models.layers import normalize
from rexjax.models.scorer import Scorer
from rexjax.pipeline.stages import inputs
from rexjax.runtime import preemption, processes


def run(
    config: Config, folder: Path, artifacts: dict[str, Artifact], models: tuple[str, ...] = ("student", "control")
) -> dict[str, Any]:
    """Writes ``student/`` and ``control/`` (or which of them ``models`` names), as they are served, and the teacher's
    top-k into ``folder``.

    Returns:
        Their training summaries, validation metrics and digests.
    """
    model = need(config.student.model, Distillable, "student.model")
    data = inputs.training_data(config, artifacts)
    own = inputs.run_of(config, data, folder, "student", "student.model")
    soft = None
    if "student" in models:
        teacher = config.teacher.scorer(inputs.fitted(artifacts["teacher"].folder / "model", config.teacher))
        soft = taught(config, folder, artifacts["teacher"], teacher, data, own)
    metrics: dict[str, Any] = {"content": {}, "valid": {}}
    for name in models:
        named = replace(own, name=name)
        state = model.distill(data, soft, named) if name == "student" else fit(model, data, named)
        metrics["content"][name] = inputs.save(folder / name, state)
        metrics["valid"][name] = own.validate(model.scorer(state))
    if processes.first():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return metrics | {"training": own.summaries}


def taught(config: Config, folder: Path, made: Artifact, teacher: Scorer, data: TrainingData, own: Run) -> SoftTargets:
    """Soft targets of the teacher in ``folder``; the first process makes them."""
    student = config.student
    if student.top_k > data.items:
        raise UserError(f"--student.top-k {student.top_k} is longer than the catalogue of {data.items} items")
    vectors = None
    if student.alignment_weight:
        rows = need_vectors(teacher, f"teacher ({type(config.teacher).__name__})", "--student.alignment-weight")
        vectors = np.asarray(normalize(plain_rows(rows)))
    with processes.in_turn("the teacher's top-k"), contextlib.suppress(preemption.Preempted):
        if processes.first():
            _write_rounds(config, folder, made, teacher, data, own.mesh.local_mesh)
    preemption.stop_if_asked()
    return teacher_top_k.soft_targets(folder, student, vectors)


def _write_rounds(
    config: Config, folder: Path, made: Artifact, teacher: Scorer, data: TrainingData, mesh: jax.sharding.Mesh
) -> None:
    """A folder for each round; the first is of the log's own histories."""
    student, events = config.student, len(data.log.items)
    origin = teacher_top_k.Origin(made.hash, data.items, events, student.top_k)
    scale = None
    for number in range(1 + student.augmented_rounds):
        place = teacher_top_k.place(folder, number)
        if teacher_top_k.finished(place):
            teacher_top_k.check(place, origin)
            continue
        place.mkdir(parents=True, exist_ok=True)
        scale = scale or _scale(teacher, data, config.seed)
        labels = _in_order(data, mesh)
        if number:
            items = _corrupted(config, folder, number, data)
            np.save(place / "items.npy", items)
            labels = (teacher_top_k.with_items(batch, items) for batch in labels)
        teacher_top_k.write(place, teacher, labels, scale=scale, events=events, top_k=student.top_k, mesh=mesh)
        teacher_top_k.finish(place, origin)


def _scale(teacher: Scorer, data: TrainingData, seed: int) -> float:
    """From the teacher's scores to logits, by validation where the teacher does not say."""
    asked = inputs.requests_of(data, "valid", 2048, seed)
    return logit_scale(teacher, asked.histories, asked.times, asked.target_items[asked.target_offsets[:-1]])


def _in_order(data: TrainingData, mesh: jax.sharding.Mesh) -> Iterable[Batch]:
    rows = teacher_top_k.rows_at_once(data.items, data.length, mesh.shape["data"])
    return batches.epoch(
        data.records, seed=0, epoch=0, batch=rows, length=data.length, targets=data.targets, shuffle=False
    )


def _corrupted(config: Config, folder: Path, number: int, data: TrainingData) -> np.ndarray:
    rng = np.random.default_rng([config.seed, number])
    lists = teacher_top_k.TeacherLists(teacher_top_k.place(folder, 0))
    return teacher_top_k.corrupt(lists, data.log.items, config.student.corruption_rate, rng)


STAGE = Stage(
    name="distill",
    run=run,
    needs=("prepare", "encode", "teacher"),
    keys=("seed", "data.length", "data.targets", "teacher", "student", "evaluate.selection", "evaluate.exclude_seen"),
    what="train the small student on the teacher's top-k, and its control without",
    together=True,
)
