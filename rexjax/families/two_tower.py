"""Two towers, an MLP for items and one for users, trained by a softmax over the batch (Yi et al. 2019)."""

from dataclasses import dataclass, field, replace
from functools import partial

import flax.linen as nn

from rexjax.errors import check_least, check_range
from rexjax.families.base import Model
from rexjax.families.gradient import GradientModel, Loss
from rexjax.models import pooled_axes
from rexjax.models.served import Served
from rexjax.models.towers import ItemTower, UserTower
from rexjax.training.settings import Training


@dataclass(frozen=True)
class TwoTower(GradientModel):
    """An MLP over an item's row and text, and one over a history pooled by recency and its latest item; scores are
    cosines."""

    dropout: float = 0.1
    """Dropped share of the user tower's hidden layer."""
    temperature: float = 0.07
    """Cosines are divided by it in the loss."""
    loss: Loss = "in_batch"
    """As of the other families."""
    training: Training = field(default_factory=partial(Training, learning_rate=2e-3, patience=3))
    """How it is trained."""
    profiles: int = 2
    """Learned recency profiles by which a history is pooled."""
    hidden: int = 128
    """Width of the hidden layer of each tower."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "TwoTower", 1, "profiles", "hidden")
        check_range(self, "TwoTower", "more than 0", lambda value: value > 0, "temperature")

    def item_encoder(self) -> nn.Module:
        """See ``ItemTower``."""
        return ItemTower(self.width, self.fusion, self.hidden)

    def history_encoder(self, length: int) -> nn.Module:
        """See ``UserTower``."""
        return UserTower(self.profiles, self.hidden, self.dropout, length, self.time != "none")

    def longest_history(self, state: Served) -> int:
        """Profiles have a weight for each age."""
        return state.history["decay"].shape[1]

    def narrow(self, state: Served, width: int) -> tuple["TwoTower", Served]:
        """Keeps the principal directions of the items that matter most."""
        if width == self.width:
            return self, state
        return replace(self, width=width), pooled_axes.narrow(pooled_axes.by_importance(state), width)

    def rotate(self, state: Served) -> Served:
        """Rotates all vectors alike, at random: cosines stay."""
        return pooled_axes.evenly(state)

    def variations(self) -> dict[str, Model]:
        """Growth first."""
        listed: dict[str, Model] = {
            "wider": replace(self, width=2 * self.width),
            "larger towers": replace(self, hidden=2 * self.hidden),
            **super().variations(),
            "warmer": replace(self, temperature=1.4 * self.temperature),
            "colder": replace(self, temperature=self.temperature / 1.4),
            "more profiles": replace(self, profiles=2 * self.profiles),
            "whole catalogue": replace(self, loss="full_softmax"),
            "in batch": replace(self, loss="in_batch"),
            "rows from text": replace(self, fusion="init_from_text"),
        }
        return {name: model for name, model in listed.items() if model != self}
