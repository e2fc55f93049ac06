"""How a model is trained by gradients: the keys of its optimizer, its item rows and its stopping."""

from dataclasses import dataclass, field, replace
from typing import Literal

from rexjax.errors import check_least, check_range

SELECT = "ndcg@10"
"""The validation metric that models are chosen by, unless a config says otherwise."""
STEPS = 3000
"""Steps that training aims at where a config leaves epochs open."""


@dataclass(frozen=True)
class Rows:
    """How the item table is kept and updated: as a whole in every step or, with a sampled loss, only where a batch
    names its rows (``rexjax.embedding``)."""

    optimizer: Literal["sgd", "adagrad", "row_wise_adagrad", "lazy_adam", "exact_adam"] = "lazy_adam"
    """lazy_adam updates touched rows by Adam's rule (with full_softmax these are all rows, and it is Adam); exact_adam
    is dense Adam, caught up on touch; row_wise_adagrad keeps one number a row."""
    learning_rate: float = 0.0
    """0: the model's own; either is warmed up alike."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 rows are rounded stochastically."""
    clip: float = 0.0
    """Each row's gradient is scaled down to this norm; 0: never."""
    capacity: float = 1.25
    """Capacity of the exchange between devices, relative to even demand; smaller ones take more rounds."""

    def __post_init__(self) -> None:
        check_least(self, "rows", 0, "learning_rate", "clip")
        check_range(self, "rows", "more than 0", lambda value: value > 0, "capacity")


@dataclass(frozen=True)
class Training:
    """How a model is trained."""

    epochs: int = 0
    """Passes over the training histories, at most; 0: as many as 3,000 steps need, from 10 to 100."""
    batch: int = 0
    """Rows per step; a row packs several histories into --data.length positions. 0: a fiftieth of an epoch's rows, from
    8 to 48."""
    learning_rate: float = 1e-3
    """Adam's step size, after a linear warm-up."""
    warmup: int = 0
    """Steps of warm-up; 0: a twentieth of all steps, at most 100."""
    decay_steps: int = 0
    """Steps over which the step size falls to a fiftieth along a cosine, warm-up included; 0: it stays; -1: all that
    the epochs have."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay; item rows decay when they are touched."""
    rows: Rows = field(default_factory=Rows)
    """The item table."""
    validate_every: int = 1
    """Epochs between validations (full ranking)."""
    validate_users: int = 4096
    """Users, drawn by the seed, that are ranked at each validation, at most."""
    patience: int = 5
    """Validations without a better metric after which training stops."""

    def __post_init__(self) -> None:
        check_least(self, "training", 1, "validate_every", "validate_users", "patience")
        check_least(self, "training", 0, "epochs", "batch", "learning_rate", "warmup", "weight_decay")
        check_least(self, "training", -1, "decay_steps")


def with_batch(settings: Training, rows: int, devices: int) -> Training:
    """``settings`` with a batch, a multiple of the devices along "data", that suits an epoch of so many packed rows."""
    if settings.batch:
        return settings
    batch = min(max(rows // 50, 8), 48)
    return replace(settings, batch=max(batch // devices, 1) * devices)


def with_steps(settings: Training, steps: int) -> Training:
    """``settings`` with epochs, warm-up and decay that suit an epoch of so many steps."""
    epochs = settings.epochs or min(max(-(-STEPS // steps), 10), 100)
    warmup = settings.warmup or min(max(epochs * steps // 20, 1), 100)
    decay = epochs * steps if settings.decay_steps < 0 else settings.decay_steps
    return replace(settings, epochs=epochs, warmup=warmup, decay_steps=decay)
