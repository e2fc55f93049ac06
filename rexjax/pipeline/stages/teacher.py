"""Stage teacher: the best model that there is on the log, whatever it costs to serve."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rexjax.artifacts.store import Artifact
from rexjax.compression import variants
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.errors import UserError
from rexjax.families.base import Distillable, Run, TrainingData, fit, need
from rexjax.pipeline.stages import inputs
from rexjax.runtime import processes


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes the fitted teacher (``model/``) into ``folder``.

    Returns:
        Validation metrics, training summaries by name, the digest of the state.
    """
    return make(config, folder, artifacts, partial(fit, config.teacher))


def make(
    config: Config,
    folder: Path,
    artifacts: dict[str, Artifact],
    learn: Callable[[TrainingData, Run], Any],
) -> dict[str, Any]:
    """As ``run``, of the state that ``learn`` gives."""
    check_later_stages(config, artifacts["prepare"].metrics["items"])
    data = inputs.training_data(config, artifacts)
    own = inputs.run_of(config, data, folder, "teacher", "teacher")
    state = learn(data, own)
    digest = inputs.save(folder / "model", state)
    valid = own.validate(config.teacher.scorer(state))
    if processes.first():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return {"valid": valid, "training": own.summaries, "content": {"model": digest}}


def check_later_stages(config: Config, items: int) -> None:
    """Refuses what later stages would refuse after the training."""
    need(config.student.model, Distillable, "student.model")
    for name, value in (("evaluate.k", max(10, *config.evaluate.k)), ("student.top-k", config.student.top_k)):
        if value > items:
            raise UserError(f"--{name} {value} is larger than the catalogue of {items} items")
    width = getattr(config.student.model, "width", None)
    for name in config.compress.variants:
        if width:
            variants.parse(name, width)


STAGE = Stage(
    name="teacher",
    run=run,
    needs=("prepare", "encode"),
    keys=("seed", "data.length", "data.targets", "teacher", "evaluate.selection", "evaluate.exclude_seen"),
    packages=("jax", "jaxlib", "flax", "optax", "numpy"),
    what="fit the teacher: a transformer, a blend, any model",
    together=True,
)
