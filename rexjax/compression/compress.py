"""One variant of a trained student: narrowed, pruned, quantised, and fine-tuned to make up for it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from rexjax.compression import prune
from rexjax.compression.settings import Compress
from rexjax.compression.variants import Prepared
from rexjax.families.base import Distillable, FineTuning, Model, Run, SoftTargets, TrainingData, need

STEPS = 3
"""Steps of gradual pruning."""


def compress(prepared: Prepared, settings: Compress, fine_tune: Callable[[Model, FineTuning, str], Any]) -> Prepared:
    """The variant, fine-tuned where that can make up for what it loses; ``stored`` is the state as it is kept.

    Args:
        prepared: the variant.
        settings: how it is fine-tuned.
        fine_tune: (model, tuning, name) → state, see ``fine_tuner``.
    """
    if not prepared.fine_tuned:
        return prepared
    variant, small, quantizer = prepared.variant, prepared.state, prepared.quantizer
    tuning = FineTuning(small, quantizer.fake, content=quantizer.content)
    tuned = replace(prepared.model, dropout=settings.dropout, training=settings.training)  # type: ignore[call-arg]
    if not variant.zeros:
        return prepared._replace(state=fine_tune(tuned, tuning, variant.name))
    epochs = max(1, settings.training.epochs // STEPS)
    tuned = replace(tuned, training=replace(settings.training, epochs=epochs))  # type: ignore[call-arg]
    for number, share in enumerate(prune.gradually(variant.zeros / 100, STEPS), 1):
        small = small._replace(history=prune.magnitude_prune(small.history, share))
        mask = partial(prune.keep_zeros, pruned=small.history)
        small = fine_tune(tuned, replace(tuning, start=small, prune=mask), f"{variant.name}_{number}")
    return prepared._replace(state=small)


def fine_tuner(data: TrainingData, soft: SoftTargets, run: Run) -> Callable[[Model, FineTuning, str], Any]:
    """Trains on with the student's own objective."""

    def fine_tune(model: Model, tuning: FineTuning, name: str) -> Any:
        able = need(model, Distillable, f"{run.key} of a variant that is fine-tuned")
        return able.distill(data, soft, replace(run, name=name, key="compress"), tuning)

    return fine_tune


def teacher_weight(weight: float, kept: int, width: int) -> float:
    """Of the teacher's top-k in fine-tuning: the narrower a variant, the less of a label it can bear."""
    return 1 - (1 - weight) * kept / width
