"""Stage compress: variants of the student with fewer dimensions, bits or weights."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rexjax.artifacts.classes import as_dict
from rexjax.artifacts.store import Artifact
from rexjax.compression import compress, variants
from rexjax.compression.variants import Variant
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.distillation.teacher_top_k import soft_targets
from rexjax.evaluation.cost import tree_bytes
from rexjax.families.base import FineTuning, Model, Run, TrainingData
from rexjax.pipeline.stages import inputs
from rexjax.runtime import processes


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes the state of each of ``compress.variants`` into ``folder``.

    Returns:
        Bytes before and after, the narrowed models, training summaries, validation metrics, digests.
    """
    data = inputs.training_data(config, {"prepare": artifacts["prepare"]})
    return make(config, folder, artifacts, data, data)


def make(
    config: Config, folder: Path, artifacts: dict[str, Artifact], data: TrainingData, tuned_on: TrainingData
) -> dict[str, Any]:
    """As ``run``; variants are chosen on ``data`` and fine-tuned on the log that the soft targets were made of."""
    model = config.student.model
    state = inputs.fitted(artifacts["distill"].folder / "student", model)
    width = variants.width_of(model, state)
    chosen = [variants.parse(name, width) for name in config.compress.variants]
    own = inputs.run_of(config, data, folder, "compress", "compress")
    metrics: dict[str, Any] = {"content": {}, "valid": {}, "models": {}, "bytes": {"student": tree_bytes(state)}}
    for variant in chosen:
        tune = fine_tuner(config, tuned_on, own, artifacts["distill"].folder, variant, width)
        prepared = variants.prepare(model, state, variant, data.popularity, config.seed)
        small = compress.compress(prepared, config.compress, tune)
        stored = small.stored()
        metrics["content"][variant.name] = inputs.save(folder / variant.name, stored)
        metrics["models"][variant.name] = as_dict(small.model)
        metrics["bytes"][variant.name] = tree_bytes(stored)
        metrics["valid"][variant.name] = own.validate(small.model.scorer(stored))
    if processes.first():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return metrics | {"training": own.summaries}


def fine_tuner(
    config: Config, data: TrainingData, own: Run, distilled: Path, variant: Variant, width: int
) -> Callable[[Model, FineTuning, str], Any]:
    """Trains a variant on with the student's objective and a label weight that shrinks with the width."""
    student = config.student
    weight = compress.teacher_weight(student.teacher_weight[-1], variant.width, width)
    last = replace(
        student, teacher_weight=(weight,), teacher_temperature=student.teacher_temperature[-1:], alignment_weight=0.0
    )
    return compress.fine_tuner(data, soft_targets(distilled, last), own)


STAGE = Stage(
    name="compress",
    run=run,
    needs=("prepare", "distill"),
    keys=("seed", "data.length", "data.targets", "student", "compress", "evaluate.selection", "evaluate.exclude_seen"),
    packages=("jax", "jaxlib", "flax", "optax", "numpy"),
    what="fewer dimensions, fewer bits, fine-tuned to make up for it",
    together=True,
)
