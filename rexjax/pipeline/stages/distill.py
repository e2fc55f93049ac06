"""Stage distill: the student learns from labels and the teacher's top-k; its control learns from labels alone."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.distillation.teach import distill
from rexjax.families.base import Model, Run, TrainingData, fit
from rexjax.families.cross_fitted import CrossFitted
from rexjax.models.scorer import Scorer
from rexjax.pipeline.stages import inputs
from rexjax.runtime import processes


def run(
    config: Config, folder: Path, artifacts: dict[str, Artifact], models: tuple[str, ...] = ("student", "control")
) -> dict[str, Any]:
    """Writes ``student/`` and ``control/`` (or which of them ``models`` names), as they are served, and the teacher's
    top-k into ``folder``.

    Returns:
        Their training summaries, validation metrics and digests.
    """
    model, data = config.student.model, inputs.training_data(config, artifacts)
    own = inputs.run_of(config, data, folder, "student", "student.model")

    def learn(name: str) -> Any:
        named = replace(own, name=name)
        if name != "student":
            return fit(model, data, named)
        teacher = _teacher(config, data, folder, replace(own, name="teacher", key="teacher"), artifacts["teacher"])
        return distill(teacher, config.student, data, named, origin=artifacts["teacher"].hash)

    return make(model, folder, own, models, learn)


def make(model: Model, folder: Path, own: Run, names: tuple[str, ...], learn: Callable[[str], Any]) -> dict[str, Any]:
    """As ``run``, of the states that ``learn`` gives by name."""
    metrics: dict[str, Any] = {"content": {}, "valid": {}}
    for name in names:
        state = learn(name)
        metrics["content"][name] = inputs.save(folder / name, state)
        metrics["valid"][name] = own.validate(model.scorer(state))
    if processes.first():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return metrics | {"training": own.summaries}


def _teacher(config: Config, data: TrainingData, folder: Path, run: Run, artifact: Artifact) -> Scorer:
    """Who makes the lists: the teacher of the stage before, or two of its kind, which are kept beside the lists."""
    if not config.student.cross_fitted:
        return config.teacher.scorer(inputs.fitted(artifact.folder / "model", config.teacher))
    model = CrossFitted(config.teacher)
    state, _ = inputs.fit_once(model, data, run, folder / "top_k" / "teacher")
    return model.scorer(state)


STAGE = Stage(
    name="distill",
    run=run,
    needs=("prepare", "encode", "teacher"),
    keys=("seed", "data.length", "data.targets", "teacher", "student", "evaluate.selection", "evaluate.exclude_seen"),
    packages=("jax", "jaxlib", "flax", "optax", "numpy"),
    what="train the small student on the teacher's top-k, and its control without",
    together=True,
)
