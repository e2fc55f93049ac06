"""A search for the teacher's hyper-parameters, on validation alone: it starts small and grows while that pays.

One change at a time, from a fixed list, is tried on the best teacher so far and kept if validation NDCG@10 is better
(coordinate ascent). Small models are cheap, so that what depends little on size is settled early. Every trial is a
training run like any other: killed, it goes on where it was, and finished ones are not run again.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rexjax import artifacts, pipeline, settings
from rexjax.config import Config, Teacher
from rexjax.errors import UserError

WIDTH, LAYERS = 32, 1
"""Of the first teacher, at most."""


class Trial(NamedTuple):
    """One teacher, trained."""

    change: str
    """What was changed about the best one before it."""
    teacher: dict[str, Any]
    ndcg: float
    """On validation, NDCG@10 of the best epoch; 0 where training failed."""
    seconds: float
    kept: bool
    """It was the best so far."""


def run(config: Config, trials: int, say: Callable[[str], None]) -> list[Trial]:
    """Runs ``trials`` of them, or fewer where no change is left, below ``config.workdir``/sweep.

    Writes ``trials.jsonl``, ``best.json`` (the teacher's keys) and ``sweep.png``. Called again with more trials it goes
    on; whatever the number, the same config gives the same sequence.

    Raises:
        UserError: fewer than one trial; a workdir of another config; what a stage refuses.
    """
    if trials < 1:
        raise UserError(f"--trials {trials}: a sweep has 1 trial or more")
    outcomes = pipeline.run(config, ("prepare", "encode"), update=False, say=say)
    inputs = {outcome.stage: outcome.artifact for outcome in outcomes}
    folder = Path(config.workdir) / "sweep"
    folder.mkdir(exist_ok=True)
    known = _read(folder / "trials.jsonl")
    found: list[Trial] = []
    best = None
    teacher = replace(config.teacher, width=min(WIDTH, config.teacher.width), layers=LAYERS)
    waiting = iter([("start small", teacher)])
    tried = set()
    while len(found) < trials:
        change, teacher = next(waiting, ("", None))
        if teacher is None:
            break
        key = trial_key(config, teacher, inputs)
        if key in tried:
            continue
        tried.add(key)
        if key not in known:
            known[key] = _train(replace(config, teacher=teacher), folder / key, inputs, first=best is None, say=say)
            with (folder / "trials.jsonl").open("a") as file:
                file.write(json.dumps({"key": key} | known[key]) + "\n")
        kept = best is None or known[key]["ndcg"] > best.ndcg
        trial = Trial(change, settings.as_dict(teacher), known[key]["ndcg"], known[key]["seconds"], kept)
        found.append(trial)
        say(f"trial {len(found)}, {change}: NDCG@10 {trial.ndcg:.4f} in {trial.seconds:.0f} s" + " *" * kept)
        if kept:
            best, waiting = trial, changes(teacher, change)
    artifacts.write_json(folder / "best.json", best.teacher)
    picture(folder / "sweep.png", found)
    return found


def changes(teacher: Teacher, last: str = "") -> Iterator[tuple[str, Teacher]]:
    """What to try next on ``teacher``, growth first; what was changed ``last`` is tried again before anything else."""
    training = teacher.training
    rate = lambda factor: {"training": replace(training, learning_rate=training.learning_rate * factor)}  # noqa: E731
    listed = {
        "wider": {"width": 2 * teacher.width},
        "deeper": {"layers": teacher.layers + 1},
        "more dropout": {"dropout": min(round(teacher.dropout + 0.1, 2), 0.8)},
        "less dropout": {"dropout": max(round(teacher.dropout - 0.1, 2), 0.0)},
        "faster": rate(2.0),
        "slower": rate(0.5),
        "gated blocks": {"blocks": ("gated",)},
        "HSTU blocks": {"blocks": ("hstu",)},
        "cosine": {"temperature": 0.07},
        "colder": {"temperature": 0.7 * teacher.temperature},
        "dot product": {"temperature": 0.0},
        "gated items": {"fusion": "gated"},
        "fine-tuned text": {"fusion": "tuned"},
        "more heads": {"heads": 2 * teacher.heads},
        "one head": {"heads": 1},
    }
    names = sorted(listed, key=lambda name: name != last)
    for name in names:
        changed = replace(teacher, **listed[name])
        if changed.width % changed.heads == 0:
            yield name, changed


def _train(
    config: Config,
    folder: Path,
    inputs: dict[str, artifacts.Artifact],
    *,
    first: bool,
    say: Callable[[str], None],
) -> dict[str, float]:
    """A change that fails (its loss became NaN, its heads do not fit the mesh) is worth nothing; the first may not."""
    from rexjax.stages import teacher

    started = time.monotonic()
    folder.mkdir(exist_ok=True)
    try:
        ndcg = teacher.run(config, folder, inputs)["valid_ndcg@10"]
    except UserError as error:
        if first:
            raise
        say(f"failed: {error}")
        ndcg = 0.0
    shutil.rmtree(folder)
    return {"ndcg": ndcg, "seconds": time.monotonic() - started}


def trial_key(config: Config, teacher: Teacher, inputs: dict[str, artifacts.Artifact]) -> str:
    """Of all that decides how a teacher is trained: a folder of this name is this teacher's."""
    parts = {"teacher": settings.as_dict(teacher), "seed": config.seed, "length": config.data.length}
    return settings.digest(parts | {"inputs": [inputs[name].hash for name in sorted(inputs)]})


def _read(path: Path) -> dict[str, dict[str, float]]:
    """Finished trials by key; the last line may have been cut off by a kill."""
    known = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            trial = json.loads(line)
        except json.JSONDecodeError:
            continue
        known[trial.pop("key")] = trial
    return known


def picture(path: Path, trials: list[Trial]) -> None:
    """NDCG@10 of each trial against the time spent until then, and the best so far."""
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
    axes.set_ylabel("validation NDCG@10")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
