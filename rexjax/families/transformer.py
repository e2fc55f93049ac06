"""Sequential models: SASRec (Kang & McAuley 2018), gated blocks (eSASRec), HSTU (Zhai et al. 2024), GRU4Rec (Hidasi et
al. 2016)."""

from dataclasses import dataclass, replace
from typing import Literal

import flax.linen as nn

from rexjax.errors import UserError, check_least
from rexjax.families.base import Model, Run
from rexjax.families.gradient import GradientModel
from rexjax.models.sequential import BLOCKS, SequentialEncoder
from rexjax.models.served import Served


@dataclass(frozen=True)
class Transformer(GradientModel):
    """A sequential transformer, or recurrent network, over item ids and text vectors."""

    layers: int = 2
    """Blocks."""
    heads: int = 2
    """Attention heads; a block without attention has none."""
    block: Literal["sasrec", "gated", "hstu", "gru"] = "sasrec"
    """SASRec's; with gated residuals and SwiGLU (LiGR, eSASRec); HSTU's pointwise attention; a gated recurrent unit
    (GRU4Rec), which is not told times."""
    user_features: tuple[str, ...] = ()
    """User features by name, of those that data.columns declares: an embedding of each is added to every event of the
    history. Such a model may teach; it is not served, as requests hold histories alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "Transformer", 1, "layers", "heads")
        if self.time != "none" and not self._attends:
            raise UserError(
                f"Transformer has block={self.block} and time={self.time}: such a block reads the order alone, set "
                "time to none or block to one with attention"
            )

    @property
    def _attends(self) -> bool:
        return self.block not in BLOCKS or BLOCKS[self.block].attends  # what is no block is refused elsewhere

    def history_encoder(self, length: int) -> nn.Module:
        """See ``SequentialEncoder``."""
        heads = self.heads if self._attends else 0
        return SequentialEncoder(self.layers, heads, self.dropout, length, self.block, self.time)

    def names_of_user_features(self) -> tuple[str, ...]:
        """The key ``user_features``."""
        return self.user_features

    def longest_history(self, state: Served) -> int:
        """Positions have one row each."""
        return state.history["positions"].shape[0]

    def check(self, run: Run) -> None:
        """Heads, where blocks attend, divide the width, and the mesh's "model" axis divides the heads."""
        split = run.mesh.shape["model"]
        if self._attends and (self.width % self.heads or self.heads % split):
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
            "GRU blocks": replace(self, block="gru", time="none"),
            "cosine": replace(self, temperature=0.07),
            "colder": replace(self, temperature=0.7 * self.temperature),
            "dot product": replace(self, temperature=0.0),
            "gated items": replace(self, fusion="gated"),
            "rows from text": replace(self, fusion="init_from_text"),
        }
        if self._attends:
            listed |= {"more heads": replace(self, heads=2 * self.heads), "one head": replace(self, heads=1)}
        return {name: model for name, model in listed.items() if model != self and _heads_fit(model)}


def _heads_fit(model: Model) -> bool:
    return not BLOCKS[model.block].attends or model.width % model.heads == 0
