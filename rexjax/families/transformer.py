"""Sequential transformers: SASRec (Kang & McAuley 2018), gated blocks (eSASRec), HSTU (Zhai et al. 2024)."""

from dataclasses import dataclass, replace
from typing import Literal

import flax.linen as nn

from rexjax.errors import UserError, check_least
from rexjax.families.base import Model, Run
from rexjax.families.gradient import GradientModel
from rexjax.models.sequential import SequentialEncoder
from rexjax.models.served import Served


@dataclass(frozen=True)
class Transformer(GradientModel):
    """A sequential transformer over item ids and text vectors."""

    layers: int = 2
    """Transformer blocks."""
    heads: int = 2
    """Attention heads."""
    block: Literal["sasrec", "gated", "hstu"] = "sasrec"
    """SASRec's; with gated residuals and SwiGLU (LiGR, eSASRec); HSTU's pointwise attention."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "Transformer", 1, "layers", "heads")

    def history_encoder(self, length: int) -> nn.Module:
        """See ``SequentialEncoder``."""
        return SequentialEncoder(self.layers, self.heads, self.dropout, length, self.block, self.time)

    def longest_history(self, state: Served) -> int:
        """Positions have one row each."""
        return state.history["positions"].shape[0]

    def check(self, run: Run) -> None:
        """Heads divide the width, and the mesh's "model" axis divides the heads."""
        split = run.mesh.shape["model"]
        if self.width % self.heads or self.heads % split:
            raise UserError(
                f"--{run.key}.heads {self.heads} must divide --{run.key}.width {self.width} and be divided by "
                f"--mesh.model {split}"
            )

    def variations(self) -> dict[str, Model]:
        """Growth first."""
        listed: dict[str, Model] = {
            "wider": replace(self, width=2 * self.width),
            "deeper": replace(self, layers=self.layers + 1),
            **super().variations(),
            "gated blocks": replace(self, block="gated"),
            "HSTU blocks": replace(self, block="hstu"),
            "cosine": replace(self, temperature=0.07),
            "colder": replace(self, temperature=0.7 * self.temperature),
            "dot product": replace(self, temperature=0.0),
            "gated items": replace(self, fusion="gated"),
            "rows from text": replace(self, fusion="init_from_text"),
            "more heads": replace(self, heads=2 * self.heads),
            "one head": replace(self, heads=1),
        }
        return {name: model for name, model in listed.items() if model.width % model.heads == 0 and model != self}
