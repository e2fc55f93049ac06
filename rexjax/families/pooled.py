"""A history pooled by learned recency profiles, then a small MLP: the student that serving can afford."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import flax.linen as nn
import jax

from rexjax.embedding import rows
from rexjax.embedding.quantized import dequantize_tree
from rexjax.errors import check_least, check_range
from rexjax.families.base import Model
from rexjax.families.gradient import GradientModel
from rexjax.models import pooled_axes
from rexjax.models.pooled import PooledEncoder, contributions
from rexjax.models.scorer import Query
from rexjax.models.served import Served


@dataclass(frozen=True)
class Pooled(GradientModel):
    """Pooling by recency and a small MLP, without attention; scores are cosines."""

    width: int = 32
    """Width of the item and user vectors: what serving pays for."""
    dropout: float = 0.1
    """Dropped share of the hidden layer."""
    temperature: float = 0.07
    """Cosines are divided by it in the loss."""
    profiles: int = 4
    """Learned recency profiles by which a history is pooled."""
    hidden: int = 64
    """Width of the one hidden layer on the pooled history."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, type(self).__name__, 1, "profiles", "hidden")
        check_range(self, type(self).__name__, "more than 0", lambda value: value > 0, "temperature")

    def history_encoder(self, length: int) -> nn.Module:
        """See ``PooledEncoder``."""
        return PooledEncoder(self.profiles, self.hidden, self.dropout, length, self.time != "none")

    def longest_history(self, state: Served) -> int:
        """Profiles have a weight for each age."""
        return state.history["decay"].shape[1]

    def narrow(self, state: Served, width: int) -> tuple[Self, Served]:
        """Keeps the principal directions of the items that matter most."""
        if width == self.width:
            return self, state
        return replace(self, width=width), pooled_axes.narrow(pooled_axes.by_importance(state), width)

    def rotate(self, state: Served) -> Served:
        """Rotates all vectors alike, at random: cosines stay."""
        return pooled_axes.evenly(state)

    def explains(self) -> Callable[[Served, Query, jax.Array], jax.Array] | None:
        """Pooling is a sum over events."""
        return None if self.time != "none" else _explain

    def turn(self, state: Served, basis: jax.Array) -> Served:
        """Turns all vectors alike: cosines stay."""
        return pooled_axes.turn(state, basis)

    def variations(self) -> dict[str, Model]:
        """How it is trained; what it costs to serve is the config's choice."""
        return super().variations() | {
            "warmer": replace(self, temperature=1.4 * self.temperature),
            "colder": replace(self, temperature=self.temperature / 1.4),
            "less popular": replace(self, logit_adjustment=round(self.logit_adjustment + 0.2, 2)),
        }


def _explain(served: Served, query: Query, items: jax.Array) -> Any:
    vectors, mask = rows.take(served.items, query.histories)
    wanted = rows.take(served.items, items[:, None])[0][:, 0]  # as it is scored: quantised, it is no unit vector
    return contributions(dequantize_tree(served.history), vectors, mask, wanted)
