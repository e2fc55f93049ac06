"""A teacher, any model, makes soft targets for a student; and the student that learns from them."""

import contextlib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from rexjax.data import batches
from rexjax.data.batches import Batch
from rexjax.data.features import prepared
from rexjax.distillation import teacher_top_k
from rexjax.distillation.calibration import logit_scale
from rexjax.distillation.settings import Student
from rexjax.embedding.rows import plain_rows
from rexjax.errors import UserError
from rexjax.families.base import Distillable, Run, SoftTargets, TrainingData, check_state, need, need_vectors
from rexjax.families.user_features import with_features
from rexjax.models.layers import normalize
from rexjax.models.scorer import USER, Scorer
from rexjax.runtime import preemption, processes

CALIBRATION_USERS = 2048
"""Users on whose validation events the temperature of a teacher's scores is chosen, at most."""


def distill(teacher: Scorer, student: Student, data: TrainingData, run: Run, *, origin: str = "") -> Any:
    """Trains ``student.model`` on the teacher's top-k and on labels.

    Args:
        teacher: any fitted model.
        student: the model, and how it is taught.
        data: the log.
        run: where and how; soft targets, checkpoints and logs go into ``run.folder``.
        origin: identity of the teacher; soft targets in the folder that come from another one are refused.

    Returns:
        The student's state.

    Raises:
        UserError: the model cannot learn from a teacher, or lists are longer than the catalogue.
    """
    model = need(student.model, Distillable, "student.model")
    state = model.distill(data, soft_targets(teacher, student, data, run, origin=origin), run)
    check_state(state, f"{run.key} ({type(student.model).__name__})")
    return state


def soft_targets(
    teacher: Scorer,
    student: Student,
    data: TrainingData,
    run: Run,
    *,
    origin: str = "",
    judged: TrainingData | None = None,
) -> SoftTargets:
    """Writes the teacher's top-k into ``run.folder``, unless it is there; arguments as in ``distill``.

    The scale of the teacher's scores is chosen on validation events of ``judged``, which is ``data`` if it is None.
    """
    if student.top_k > data.items:
        raise UserError(f"--student.top-k {student.top_k} is longer than the catalogue of {data.items} items")
    vectors = None
    if student.alignment_weight:
        vectors = np.asarray(normalize(plain_rows(need_vectors(teacher, "teacher", "--student.alignment-weight"))))
    with processes.in_turn("the teacher's top-k"), contextlib.suppress(preemption.Preempted):
        if processes.first():
            _write_rounds(teacher, student, data, run, origin, judged or data)
    preemption.stop_if_asked()
    return teacher_top_k.soft_targets(run.folder, student, vectors)


def _write_rounds(
    teacher: Scorer, student: Student, data: TrainingData, run: Run, made: str, judged: TrainingData
) -> None:
    """A folder for each round; the first is of the log's own histories."""
    mesh, events = run.mesh.local_mesh, len(data.log.items)
    origin = teacher_top_k.Origin(made, data.items, events, student.top_k)
    scale = None
    for number in range(1 + student.augmented_rounds):
        place = teacher_top_k.place(run.folder, number)
        if teacher_top_k.finished(place):
            teacher_top_k.check(place, origin)
            continue
        place.mkdir(parents=True, exist_ok=True)
        scale = scale or calibrated_scale(teacher, judged, run.seed)
        labels = _in_order(data, mesh)
        if number:
            items = _corrupted(student, run, number, data)
            np.save(place / "items.npy", items)
            labels = (teacher_top_k.with_items(batch, items) for batch in labels)
        labels = (with_features(batch, data, teacher.reads) for batch in labels)
        teacher_top_k.write(place, teacher, labels, scale=scale, events=events, top_k=student.top_k, mesh=mesh)
        teacher_top_k.finish(place, origin)


def calibrated_scale(teacher: Scorer, data: TrainingData, seed: int) -> float:
    """From the teacher's scores to logits: by its first validation events, where the teacher does not say."""
    log = data.log
    users = np.flatnonzero((log.test_start > log.valid_start) & (log.valid_start > log.offsets[:-1]))
    if len(users) > CALIBRATION_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, CALIBRATION_USERS, replace=False))
    stops = log.valid_start[users]
    histories = batches.latest(log, users, stops, data.length)
    times = batches.latest_times(log, users, stops, data.length)
    features = prepared.of_requests(data.features, data.described, log, users, stops, data.length)
    features[USER] = users.astype(np.int32)
    return logit_scale(teacher, histories, times, log.items[stops], features)


def _in_order(data: TrainingData, mesh: jax.sharding.Mesh) -> Iterable[Batch]:
    rows = teacher_top_k.rows_at_once(data.items, data.length, mesh.shape["data"])
    return batches.epoch(
        data.records, seed=0, epoch=0, batch=rows, length=data.length, targets=data.targets, shuffle=False
    )


def _corrupted(student: Student, run: Run, number: int, data: TrainingData) -> np.ndarray:
    rng = np.random.default_rng([run.seed, number])
    lists = teacher_top_k.TeacherLists(teacher_top_k.place(run.folder, 0))
    return teacher_top_k.corrupt(lists, data.log.items, student.corruption_rate, rng)
