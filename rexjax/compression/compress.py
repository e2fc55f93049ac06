"""One variant of a trained student: narrowed, pruned, quantised, and fine-tuned to make up for it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from rexjax.compression import prune, variants
from rexjax.compression.settings import Compress
from rexjax.compression.variants import Variant
from rexjax.families.base import Distillable, FineTuning, Model, Run, SoftTargets, TrainingData, need

STEPS = 3
"""Steps of gradual pruning."""


def compress(
    model: Model,
    state: Any,
    variant: Variant,
    settings: Compress,
    fine_tune: Callable[[Model, FineTuning, str], Any],
) -> tuple[Model, Any]:
    """The variant's model and its state, as it is stored.

    Args:
        model: the student.
        state: its float32 state.
        variant: what to make of it.
        settings: how it is fine-tuned.
        fine_tune: (model, tuning, name) → state, see ``fine_tuner``.
    """
    narrow, small = float32_variant(model, state, variant, settings, fine_tune)
    return narrow, variants.quantized_state(small, variant)


def float32_variant(
    model: Model,
    state: Any,
    variant: Variant,
    settings: Compress,
    fine_tune: Callable[[Model, FineTuning, str], Any],
) -> tuple[Model, Any]:
    """As ``compress``, before the last quantisation."""
    narrow, small = variants.narrowed(model, state, variant)
    if not needs_training(variant, variants.width_of(model, state)):
        return narrow, small
    rounding = None if variant.bits == 32 else partial(variants.fake_quantized, variant=variant)
    tuned = replace(narrow, dropout=settings.dropout, training=settings.training)  # type: ignore[call-arg]
    if not variant.zeros:
        return narrow, fine_tune(tuned, FineTuning(small, rounding), variant.name)
    epochs = max(1, settings.training.epochs // STEPS)
    tuned = replace(tuned, training=replace(settings.training, epochs=epochs))  # type: ignore[call-arg]
    for number, share in enumerate(prune.gradually(variant.zeros / 100, STEPS), 1):
        small = small._replace(history=prune.magnitude_prune(small.history, share))
        mask = partial(prune.keep_zeros, pruned=small.history)
        small = fine_tune(tuned, FineTuning(small, rounding, mask), f"{variant.name}_{number}")
    return narrow, small


def needs_training(variant: Variant, width: int) -> bool:
    """int8 alone loses nothing that training could bring back."""
    return variant.bits == 4 or variant.width < width or variant.zeros > 0


def fine_tuner(data: TrainingData, soft: SoftTargets, run: Run) -> Callable[[Model, FineTuning, str], Any]:
    """Trains on with the student's own objective."""

    def fine_tune(model: Model, tuning: FineTuning, name: str) -> Any:
        able = need(model, Distillable, f"{run.key} of a variant that is fine-tuned")
        return able.distill(data, soft, replace(run, name=name, key="compress"), tuning)

    return fine_tune


def teacher_weight(weight: float, kept: int, width: int) -> float:
    """Of the teacher's top-k in fine-tuning: the narrower a variant, the less of a label it can bear."""
    return 1 - (1 - weight) * kept / width
