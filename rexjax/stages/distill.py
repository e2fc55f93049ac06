"""Stage 4, distill: the student learns from labels and the teacher's lists; its control learns from labels alone."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from rexjax import preemption, processes
from rexjax.artifacts import Artifact
from rexjax.config import Config
from rexjax.data import batches as data
from rexjax.distillation import imagined, teacher_lists
from rexjax.errors import UserError
from rexjax.mesh import make_mesh
from rexjax.models import recommender
from rexjax.models.layers import normalize
from rexjax.retrieval.index import flatten
from rexjax.stages import inputs
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
    catalogue = inputs.catalogue(log, inputs.content_vectors(artifacts["encode"]))
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
    epochs = lambda log: inputs.epochs(log, config, settings.batch, mesh)  # noqa: E731
    metrics: dict[str, Any] = {"content": {}}
    for name in models:
        if name == "student":
            plain = [epochs(one) for one in inputs.rounds(log, folder, student)]
            task = Task(
                name,
                model,
                objectives.distilled(model, student.ranking_weight, student.alignment_weight),
                teacher_lists.taught(plain, folder, student, settings.epochs),
                validate,
                catalogue._replace(scored=None),  # the lists may name any item
            )
        else:
            plain = [epochs(log)]
            batches = inputs.without_lists(plain[0])
            task = Task(name, model, objectives.full_softmax(model), batches, validate, catalogue)
        lasting = inputs.with_decay(settings, *plain)
        fitted = fit(task, lasting, seed=config.seed, mesh=mesh, folder=folder, **inputs.run_settings(config))
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
    own = imagined.training(log.histories)
    for number in range(1 + student.rounds):
        place = teacher_lists.place(folder, number)
        if teacher_lists.finished(place):
            teacher_lists.check(place, origin)
            continue
        place.mkdir(parents=True, exist_ok=True)
        rng, first = np.random.default_rng([config.seed, number]), teacher_lists.place(folder, 0)
        items = own
        if number:
            known = teacher_lists.TeacherLists(first)
            items = imagined.replace(own, known, student.replaced, rng)
            items = imagined.go_on(items, known, log.histories, 0, rng) if student.whole else items
        more = student.whole * (1 + (number > 0))
        _write_round(config, place, teacher, log, mesh, imagined.Records(log.source, items, more))
        if student.whole:  # what follows the last item of a round's histories is a draw from its own lists
            items = imagined.go_on(items, teacher_lists.TeacherLists(place), log.histories, more - 1, rng)
        if number or student.whole:
            np.save(place / "items.npy", items)
        teacher_lists.finish(place, origin)


def _write_round(
    config: Config, place: Path, teacher: Artifact, log: inputs.Prepared, mesh: Any, source: imagined.Records
) -> None:
    plain = data.epoch(
        source,
        seed=0,
        epoch=0,
        batch=config.teacher.training.batch,
        length=config.data.length,
        targets=config.data.targets,
        shuffle=False,
    )
    teacher_lists.write(
        place,
        recommender.teacher(config.teacher, config.data.length),
        inputs.served(teacher.folder / "model"),
        plain,
        events=len(log.histories.items),
        list_length=config.student.list_length,
        mesh=mesh,
    )
