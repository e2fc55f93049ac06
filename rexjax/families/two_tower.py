"""Two towers, an MLP for items and one for users, trained by a softmax over the batch (Yi et al. 2019)."""

from dataclasses import dataclass, field, replace
from functools import partial

import flax.linen as nn

from rexjax.families.base import Model
from rexjax.families.gradient import Loss
from rexjax.families.pooled import Pooled
from rexjax.models.fusion import Widths
from rexjax.models.towers import ItemTower, UserTower
from rexjax.training.settings import Training


@dataclass(frozen=True)
class TwoTower(Pooled):
    """An MLP over an item's row and text, and one over a history pooled by recency and its latest item; scores are
    cosines."""

    width: int = 64
    """Width of the item and user vectors."""
    profiles: int = 2
    """Learned recency profiles by which a history is pooled."""
    hidden: int = 128
    """Width of the hidden layer of each tower."""
    loss: Loss = "in_batch"
    """As of the other families."""
    training: Training = field(default_factory=partial(Training, learning_rate=2e-3, patience=3))
    """How it is trained."""

    def item_encoder(self, features: int = 0, widths: Widths = ()) -> nn.Module:
        """See ``ItemTower``."""
        return ItemTower(self.width, self.fusion, self.hidden, features, self.modalities, widths)

    def history_encoder(self, length: int) -> nn.Module:
        """See ``UserTower``."""
        return UserTower(self.profiles, self.hidden, self.dropout, length, self.time != "none")

    def explains(self) -> None:
        """A score is not given as a sum over events."""

    def variations(self) -> dict[str, Model]:
        """Growth first."""
        listed: dict[str, Model] = {
            "wider": replace(self, width=2 * self.width),
            "larger towers": replace(self, hidden=2 * self.hidden),
            **super().variations(),
            "more profiles": replace(self, profiles=2 * self.profiles),
            "whole catalogue": replace(self, loss="full_softmax"),
            "in batch": replace(self, loss="in_batch"),
            "rows from text": replace(self, fusion="init_from_text"),
        }
        return {name: model for name, model in listed.items() if model != self}
