"""The keys of stage compress."""

from dataclasses import dataclass, field

from rexjax.errors import UserError, check_share
from rexjax.training.settings import Training


@dataclass(frozen=True)
class Compress:
    """Stage compress: fewer dimensions, fewer bits, fewer weights."""

    variants: tuple[str, ...] = ("int8", "int4", "sparse50")
    """What is made of the student: int8, int4, pq16 (16 bytes an item: product codes), half (its first half of
    dimensions), w24 (24 of them), w24_int4, sparse50 (half of the network's weights are zero), int8_sparse50, …"""
    serve: str = "int8"
    """The variant that the index holds."""
    training: Training = field(
        default_factory=lambda: Training(
            epochs=6, batch=48, warmup=100, learning_rate=5e-4, decay_steps=-1, validate_every=2
        )
    )
    """How narrowed, pruned, int4 and pq variants are fine-tuned, on the student's own objective. The label weight
    shrinks with the width."""
    dropout: float = 0.1
    """Dropped share of activations in fine-tuning."""

    def __post_init__(self) -> None:
        check_share(self, "compress", "dropout")
        if self.serve not in self.variants:
            have = ", ".join(self.variants)
            raise UserError(f"compress has serve={self.serve!r}, which is no variant: set it to one of {have}")
