"""A student that goes on from its state when the log has grown."""

from dataclasses import replace
from typing import Any

from rexjax.distillation.settings import Student
from rexjax.distillation.teach import soft_targets
from rexjax.errors import UserError
from rexjax.families import warm
from rexjax.families.base import Distillable, FineTuning, Run, TrainingData, check_state, need
from rexjax.models.scorer import USER, Scorer


def follow(
    teacher: Scorer, student: Student, state: Any, old: TrainingData, new: TrainingData, run: Run, *, origin: str = ""
) -> Any:
    """Trains the student on, on the histories that changed and as many others, from labels and the teacher's top-k.

    Args:
        teacher: it knows ``new``.
        student: the model, and how it is taught; its vectors are not aligned again.
        state: the student's, for ``old``.
        old: the log that the state knows.
        new: the log now. Dense ids of ``old`` mean the same users and items in it.
        run: where and how; soft targets of these histories go into ``run.folder``.
        origin: identity of the teacher, see ``rexjax.distillation.distill``.

    Returns:
        The student's state, as ``distill`` returns it.

    Raises:
        UserError: the teacher reads the user's id, or the model cannot learn from a teacher.
    """
    if USER in teacher.reads:
        raise UserError(
            "the teacher reads the user's id, and a refresh teaches a part of the users: choose a teacher that answers "
            "from the history, or train anew"
        )
    model = need(student.model, Distillable, "student.model")
    start, recent = warm.start(state, old, new), warm.recent(old, new, run.seed)
    if not recent.log.users:
        return start
    soft = soft_targets(teacher, replace(student, alignment_weight=0.0), recent, run, origin=origin, judged=new)
    tuned = replace(model, training=warm.settings(model.training))
    found = tuned.distill(recent, soft, run, FineTuning(start))
    check_state(found, f"{run.key} ({type(model).__name__})")
    return found
