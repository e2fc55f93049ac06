"""The keys of stage distill."""

from dataclasses import dataclass, field

from rexjax.errors import UserError, check_least, check_share
from rexjax.families.base import Model
from rexjax.families.pooled import Pooled


@dataclass(frozen=True)
class Student:
    """Stage distill: a small student learns from labels and the teacher's top-k, its control from labels alone."""

    model: Model = field(default_factory=lambda: Pooled(width=64))
    """The student; its control has the same settings."""
    top_k: int = 50
    """Items in each of the teacher's lists."""
    teacher_weight: tuple[float, ...] = (0.8,)
    """Share of the teacher's top-k in the loss; labels have the rest. Two values: first to last epoch, linearly."""
    teacher_temperature: tuple[float, ...] = (1.0,)
    """The teacher's logits are divided by it: above 1 they say more of what is not at their top. Two values as
    above."""
    rank_decay: float = 0.0
    """A list weighs exp(-rank_decay · r / top_k) times its share, where r is the rank that the teacher gives to the
    label, top_k where it is not listed; the label has the rest. 0: all lists weigh alike."""
    alignment_weight: float = 0.0
    """Weight of the likeness between the teacher's item vectors and a learned projection of the student's."""
    cross_fitted: bool = False
    """Each half of the users is taught by a teacher that was fitted on the other half (``CrossFitted``): two more fits
    of the teacher, which then says nothing by heart."""
    augmented_rounds: int = 0
    """Further rounds of soft targets, over corrupted histories; epochs take the rounds in turn, the log's first."""
    corruption_rate: float = 0.3
    """Share of an augmented round's items that are drawn from what the teacher expected in their place."""

    def __post_init__(self) -> None:
        check_least(self, "student", 1, "top_k")
        check_least(self, "student", 0, "augmented_rounds", "alignment_weight", "rank_decay")
        check_share(self, "student", "corruption_rate")
        for name, fits in (("teacher_weight", _is_share), ("teacher_temperature", _is_positive)):
            values = getattr(self, name)
            if isinstance(values, tuple) and not (len(values) in (1, 2) and all(map(fits, values))):
                needed = "one or two shares from 0 to 1" if name == "teacher_weight" else "one or two values above 0"
                raise UserError(f"student has {name}={values}: set {name} to {needed}")


def _is_share(value: float) -> bool:
    return 0 <= value <= 1


def _is_positive(value: float) -> bool:
    return value > 0
