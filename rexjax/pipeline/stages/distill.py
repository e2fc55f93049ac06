"""Stage 4, distill: the student learns from labels and the teacher's lists; its control learns from labels alone."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.data import batches
from rexjax.distillation import teacher_lists
from rexjax.errors import UserError
from rexjax.models import recommender
from rexjax.models.layers import normalize
from rexjax.models.served import flatten
from rexjax.pipeline.stages import inputs
from rexjax.runtime import preemption, processes
from rexjax.runtime.mesh import make_mesh
from rexjax.training import objectives
from rexjax.training.checkpoint import save_tree
from rexjax.training.loop import Task, fit


def run(
    config: Config, folder: Path, artifacts: dict[str, Artifact], models: tuple[str, ...] = ("student", "control")
) -> dict[str, Any]:
    """Writes ``student/`` and ``control/`` (or which of them ``models`` names), as they are served, and the teacher's
    lists into ``folder``.

    Returns:
        Their training summaries and the digests of the parameters.
    """
    student, settings = config.student, config.student.training
    log = inputs.prepared(artifacts["prepare"])
    catalogue = inputs.catalogue(log, inputs.content_vectors(artifacts["encode"]), student.prior)
    inputs.check_time("student", student.time, log)
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    if settings.batch % mesh.shape["data"]:
        raise UserError(
            f"--student.training.batch {settings.batch} is not divided by {mesh.shape['data']} data devices"
        )
    if "student" in models:
        _check_length(student.list_length, log.items)
        with processes.in_turn("the teacher's lists"), contextlib.suppress(preemption.Preempted):
            if processes.first():
                _write_lists(config, folder, artifacts["teacher"], log, mesh.local_mesh)
        preemption.stop_if_asked()
    if student.alignment_weight:
        catalogue = catalogue._replace(aligned=_unit_items(artifacts["teacher"]))
    model = recommender.student(student, config.data.length, recommender.served_width(config.teacher))
    validate = inputs.validator(log, config, model, catalogue.text, settings.validate_users)
    plain = inputs.epochs(log, config, settings.batch, mesh)
    settings = inputs.with_decay(settings, plain)
    runs = {
        "student": lambda: (
            objectives.distilled(model, student.ranking_weight, student.alignment_weight),
            teacher_lists.taught(plain, folder, student, settings.epochs, catalogue.scored),
        ),
        "control": lambda: (objectives.full_softmax(model), inputs.without_lists(plain)),
    }
    metrics: dict[str, Any] = {"content": {}}
    for name in models:
        task = Task(name, model, *runs[name](), validate, catalogue)
        fitted = fit(task, settings, seed=config.seed, mesh=mesh, folder=folder, **inputs.run_settings(config))
        served = recommender.serve(model, fitted.params, catalogue.text, log.items)
        metrics["content"][name] = save_tree(folder / name, flatten(served))
        metrics[name] = fitted.summary
    if processes.first():
        shutil.rmtree(folder / "checkpoints")
    return metrics


def _unit_items(teacher: Artifact) -> np.ndarray:
    """The teacher's item vectors, normalised: float32 [N, W']."""
    return np.asarray(normalize(inputs.served(teacher.folder / "model").items))


def _check_length(length: int, items: int) -> None:
    if length > items:
        raise UserError(f"--student.list-length {length} is longer than the catalogue of {items} items")


def _write_lists(config: Config, folder: Path, teacher: Artifact, log: inputs.Prepared, mesh: Any) -> None:
    """A folder for each round; the first is of the log's own histories."""
    student = config.student
    origin = teacher_lists.Origin(teacher.hash, log.items, len(log.histories.items), student.list_length)
    for number in range(1 + student.rounds):
        place = teacher_lists.place(folder, number)
        if teacher_lists.finished(place):
            teacher_lists.check(place, origin)
            continue
        place.mkdir(parents=True, exist_ok=True)
        _write_round(config, place, teacher, log, mesh, _altered(config, folder, number, log))
        teacher_lists.finish(place, origin)


def _altered(config: Config, folder: Path, number: int, log: inputs.Prepared) -> np.ndarray | None:
    if not number:
        return None
    rng = np.random.default_rng([config.seed, number])
    lists = teacher_lists.TeacherLists(teacher_lists.place(folder, 0))
    return teacher_lists.alter(lists, log.histories.items, config.student.replaced, rng)


def _write_round(
    config: Config, place: Path, teacher: Artifact, log: inputs.Prepared, mesh: Any, altered: np.ndarray | None
) -> None:
    plain = batches.epoch(
        log.source,
        seed=0,
        epoch=0,
        batch=config.teacher.training.batch,
        length=config.data.length,
        targets=config.data.targets,
        shuffle=False,
    )
    if altered is not None:
        np.save(place / "items.npy", altered)
        plain = (teacher_lists.with_items(batch, altered) for batch in plain)
    teacher_lists.write(
        place,
        recommender.teacher(config.teacher, config.data.length),
        inputs.served(teacher.folder / "model"),
        plain,
        events=len(log.histories.items),
        list_length=config.student.list_length,
        mesh=mesh,
    )
