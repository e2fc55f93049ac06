"""A search for hyper-parameters, on validation alone, of the teacher, of its student, or of the student's control.

One change at a time, from a fixed list, is tried on the best model so far and kept if its validation metric
(``evaluate.select``) is better: coordinate ascent. Teachers start small and grow while that pays: small models are
cheap, so that what depends little on size is settled early. What a student costs to serve is the config's choice and
stays; only how it is trained is searched. Every trial is a training run like any other: killed, it goes on where it
was, and finished ones are not run again.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts import classes, hashing, lock, owned, store, workdirs
from rexjax.artifacts.files import write_json
from rexjax.config.schema import Config
from rexjax.distillation.settings import Student
from rexjax.errors import UserError, needs_extra
from rexjax.evaluation.settings import spell
from rexjax.families.base import Model
from rexjax.pipeline import runner
from rexjax.training.settings import SELECT

WIDTH, LAYERS = 32, 1
"""Of the first teacher, at most."""


class Trial(NamedTuple):
    """One model, trained."""

    change: str
    """What was changed about the best one before it."""
    settings: dict[str, Any]
    """The keys of config.teacher or config.student."""
    ndcg: float
    """On validation, ``evaluate.select`` of the best epoch; 0 where training failed."""
    seconds: float
    kept: bool
    """It was the best so far."""


def run(
    config: Config, trials: int, say: Callable[[str], None], of: str = "teacher", *, update: bool = False
) -> list[Trial]:
    """Runs ``trials`` of them, or fewer where no change is left, below ``config.workdir``/sweep/``of``.

    Writes ``trials.jsonl``, ``best.json`` (the model's keys) and ``sweep.png``. Called again with more trials it goes
    on; whatever the number, the same config gives the same sequence.

    Args:
        config: what to start from; a student's teacher is the config's own.
        trials: how many.
        say: where lines of progress go.
        of: one of ``MODELS``.
        update: a workdir of another config is brought up to date, and not refused.

    Raises:
        UserError: fewer than one trial; a workdir of another config; what a stage refuses.
    """
    if trials < 1:
        raise UserError(f"--trials {trials}: a sweep has 1 trial or more")
    runner.check(config, update=update)
    with lock.of(workdirs.folder_of(config.workdir)):
        return _search(config, trials, say, of, update)


def _search(config: Config, trials: int, say: Callable[[str], None], of: str, update: bool) -> list[Trial]:
    stages = ("prepare", "encode") if of == "teacher" else ("prepare", "encode", "teacher")
    inputs = {made.stage: made.artifact for made in runner.run(config, stages, update=update, say=say)}
    folder = workdirs.folder_of(config.workdir) / "sweep" / of
    owned.make(folder.parent)
    owned.make(folder)
    known = _read(folder / "trials.jsonl")
    found: list[Trial] = []
    best = None
    waiting = iter([_start(config, of)])
    tried = set()
    while len(found) < trials:
        change, model = next(waiting, ("", None))
        if model is None:
            break
        key = trial_key(config, model, inputs)
        if key in tried:
            continue
        tried.add(key)
        if key not in known:
            known[key] = _train(config, model, of, folder / key, inputs, first=best is None, say=say)
            with (folder / "trials.jsonl").open("a") as file:
                file.write(json.dumps({"key": key} | known[key]) + "\n")
        kept = best is None or known[key]["ndcg"] > best.ndcg
        trial = Trial(change, classes.as_dict(model), known[key]["ndcg"], known[key]["seconds"], kept)
        found.append(trial)
        metric = spell(config.evaluate.select)
        say(f"trial {len(found)}, {change}: {metric} {trial.ndcg:.4f} in {trial.seconds:.0f} s" + " *" * kept)
        if kept:
            best, waiting = trial, _next(of, model, change)
    shutil.rmtree(folder / "top_k", ignore_errors=True)
    write_json(folder / "best.json", best.settings)
    picture(folder / "sweep.png", found, config.evaluate.select)
    return found


def _start(config: Config, of: str) -> tuple[str, Model | Student]:
    """The smallest model that is worth a trial, of a teacher that has a width and layers; else the config's."""
    model = config.teacher if of == "teacher" else config.student
    small = {"width": WIDTH, "layers": LAYERS}
    if of != "teacher" or not all(hasattr(model, name) for name in small):
        return "as it is", model
    least = {name: min(size, getattr(model, name)) for name, size in small.items()}
    return "start small", replace(model, **least)  # type: ignore[type-var]


def of_teacher(teacher: Model) -> dict[str, Model]:
    """What to try next on ``teacher``: what its family says."""
    return teacher.variations()


def of_student(student: Student) -> dict[str, Student]:
    """What to try next on what ``student`` is taught, and how it is trained."""
    weight = student.teacher_weight
    taught = {
        "another round": {"augmented_rounds": student.augmented_rounds + 1},
        "more alike": {"alignment_weight": 2 * student.alignment_weight or 1.0},
        "softer targets": {"teacher_temperature": tuple(1.4 * value for value in student.teacher_temperature)},
        "sharper targets": {"teacher_temperature": tuple(value / 1.4 for value in student.teacher_temperature)},
        "more teacher": {"teacher_weight": tuple(min(round(value + 0.1, 2), 1.0) for value in weight)},
        "more label": {"teacher_weight": tuple(max(round(value - 0.2, 2), 0.0) for value in weight)},
        "longer lists": {"top_k": 2 * student.top_k},
        "cross-fitted lists": {"cross_fitted": True},
        "lists by rank": {"rank_decay": 2 * student.rank_decay or 1.0},
    }
    return {name: replace(student, **change) for name, change in taught.items()} | _models(student)


def of_control(control: Student) -> dict[str, Student]:
    """What to try next on a student without teacher."""
    return _models(control)


MODELS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "teacher": of_teacher,
    "student": of_student,
    "control": of_control,
}
"""What can be searched for, and what is tried on it."""


def _models(student: Student) -> dict[str, Student]:
    return {name: replace(student, model=model) for name, model in student.model.variations().items()}


def _next(of: str, model: Any, last: str) -> Iterator[tuple[str, Any]]:
    """The changes to try on ``model``; what was changed ``last`` is tried again before anything else."""
    listed = MODELS[of](model)
    return iter((name, listed[name]) for name in sorted(listed, key=lambda name: name != last))


def _train(
    config: Config,
    model: Model | Student,
    of: str,
    folder: Path,
    inputs: dict[str, store.Artifact],
    *,
    first: bool,
    say: Callable[[str], None],
) -> dict[str, float]:
    """A change that fails (its loss became NaN, its heads do not fit the mesh) is worth nothing; the first may not."""
    from rexjax.distillation import teacher_top_k
    from rexjax.pipeline.stages import distill, teacher

    started = time.monotonic()
    folder.mkdir(exist_ok=True)
    try:
        if of == "teacher":
            found = teacher.run(replace(config, teacher=model), folder, inputs)["valid"]
        else:
            store = folder.parent / "top_k" / inputs["teacher"].hash
            teacher_top_k.share(folder, store, model, config.seed)
            found = distill.run(replace(config, student=model), folder, inputs, (of,))["valid"][of]
        ndcg = found[config.evaluate.select]
    except UserError as error:
        if first:
            raise
        say(f"failed: {error}")
        ndcg = 0.0
    shutil.rmtree(folder)
    return {"ndcg": ndcg, "seconds": time.monotonic() - started}


def trial_key(config: Config, model: Model | Student, inputs: dict[str, store.Artifact]) -> str:
    """Of all that decides how a model is trained: a folder of this name is this model's."""
    parts = {type(model).__name__.lower(): classes.as_dict(model), "seed": config.seed, "length": config.data.length}
    return hashing.digest(parts | {"inputs": [inputs[name].hash for name in sorted(inputs)]})


def _read(path: Path) -> dict[str, dict[str, float]]:
    """Finished trials by key; the last line may have been cut off by a kill."""
    known = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            trial = json.loads(line)
        except json.JSONDecodeError:
            continue
        known[trial.pop("key")] = trial
    return known


def picture(path: Path, trials: list[Trial], select: str = SELECT) -> None:
    """The metric ``select`` of each trial against the time spent until then, and the best so far."""
    with needs_extra("pictures"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    minutes, spent, best = [], 0.0, []
    for trial in trials:
        spent += trial.seconds / 60
        minutes.append(spent)
        best.append(max(trial.ndcg, best[-1] if best else 0.0))
    axes.step(minutes, best, where="post", color="tab:blue", label="best so far")
    for kept, marker in ((True, "o"), (False, "x")):
        chosen = [(x, trial.ndcg) for x, trial in zip(minutes, trials, strict=True) if trial.kept == kept]
        axes.plot(*zip(*chosen, strict=True) if chosen else ([], []), marker, color="tab:blue" if kept else "grey")
    for x, trial in zip(minutes, trials, strict=True):
        axes.annotate(trial.change, (x, trial.ndcg), fontsize=7, rotation=30, xytext=(3, 3), textcoords="offset points")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel(f"validation {spell(select)}")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
