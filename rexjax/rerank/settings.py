"""The key ``rerank`` of a config: how lists are chosen from a model's candidates. The base class changes nothing."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.artifacts.classes import Open
from rexjax.errors import UserError, check_least, check_range
from rexjax.rerank.limits import capped, quota
from rexjax.rerank.shares import calibrated, xquad
from rexjax.rerank.similar import dpp, mmr

STRENGTHS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""What is tried on validation."""


class Candidates(NamedTuple):
    """The best items of B users by a model's scores, and what is known of them."""

    scores: jax.Array
    """float32 [B, C], from 0 to 1, falling; -inf where there is no candidate."""
    items: jax.Array
    """int32 [B, C], dense ids; -1 where there is no candidate."""
    vectors: jax.Array
    """float32 [B, C, W], unit vectors of the items' content, zeros where an item has none; W may be 0."""
    shares: jax.Array
    """float32 [B, C, G], how much of an item is of each category: sums to 1, or to 0 where it has none; G may be 0."""
    own: jax.Array
    """float32 [B, G], the mean of the shares of the history's items."""
    total: int
    """N."""


@dataclass(frozen=True)
class Rerank(Open):
    """Lists in the order of scores. A subclass chooses them otherwise."""

    candidates: int = 0
    """The model's best items, from which a list is chosen; 0: lists stay in the order of scores."""
    strength: float | None = None
    """From 0, the order of scores, to 1; None: the largest one on validation that keeps ``keep``."""
    keep: float = 0.99
    """Share of the metric that selects, of the lists in the order of scores, which a chosen strength keeps."""
    personal: bool = False
    """Strength times the spread of the user's own history: the mean cosine distance of its items, or the entropy of its
    categories, each from 0 to 1."""
    separator: str = ""
    """What stands between the categories of one item, such as '|'; '': each item has one."""

    needs: ClassVar[str] = ""
    """What it reads of the items: "vectors" or "shares"."""
    together: ClassVar[bool] = False
    """All lists are chosen in one call, since one depends on the others."""

    def __post_init__(self) -> None:
        check_least(self, "rerank", 0, "candidates")
        check_range(self, "rerank", "a number from 0 to 1", lambda value: 0 <= value <= 1, "keep", "strength")
        if self.personal and self.together:
            raise UserError(f"rerank.personal is on, and {type(self).__name__} bounds all lists together: turn it off")

    def choose(self, found: Candidates, k: int, strength: jax.Array) -> jax.Array:
        """Places int32 [B, k] among the candidates, in order; -1 where none is left.

        Args:
            found: the candidates.
            k: at most C.
            strength: float32 [B], from 0 to 1.
        """
        return jnp.broadcast_to(jnp.arange(k, dtype=jnp.int32), (found.scores.shape[0], k))


@dataclass(frozen=True)
class MMR(Rerank):
    """Maximal marginal relevance (Carbonell & Goldstein 1998) by the items' content."""

    candidates: int = 100
    needs: ClassVar[str] = "vectors"

    def choose(self, found: Candidates, k: int, strength: jax.Array) -> jax.Array:
        """See ``rexjax.rerank.mmr``."""
        return mmr(found.scores, found.vectors, k, strength)


@dataclass(frozen=True)
class DPP(Rerank):
    """Greedy MAP of a determinantal point process (Chen, Zhang & Zhou 2018) by the items' content."""

    candidates: int = 100
    needs: ClassVar[str] = "vectors"

    def choose(self, found: Candidates, k: int, strength: jax.Array) -> jax.Array:
        """See ``rexjax.rerank.dpp``."""
        return dpp(found.scores, found.vectors, k, strength)


@dataclass(frozen=True)
class XQuAD(Rerank):
    """Coverage of the user's own categories (Santos, Macdonald & Ounis 2010)."""

    candidates: int = 100
    needs: ClassVar[str] = "shares"

    def choose(self, found: Candidates, k: int, strength: jax.Array) -> jax.Array:
        """See ``rexjax.rerank.xquad``."""
        return xquad(found.scores, found.shares, found.own, k, strength)


@dataclass(frozen=True)
class Calibrated(Rerank):
    """Lists with the user's own shares of the categories (Steck 2018)."""

    candidates: int = 100
    needs: ClassVar[str] = "shares"

    def choose(self, found: Candidates, k: int, strength: jax.Array) -> jax.Array:
        """See ``rexjax.rerank.calibrated``."""
        return calibrated(found.scores, found.shares, found.own, k, strength)


@dataclass(frozen=True)
class Quota(Rerank):
    """At most ``ceil(k - strength (k - 1))`` items of a category, or of a provider that stands in its column."""

    candidates: int = 100
    needs: ClassVar[str] = "shares"

    def choose(self, found: Candidates, k: int, strength: jax.Array) -> jax.Array:
        """See ``rexjax.rerank.quota``; an item of several categories counts for its first."""
        known = found.shares.sum(2) > 0
        categories = jnp.where(known, jnp.argmax(found.shares, 2).astype(jnp.int32), -1)
        return quota(found.scores, categories, k, strength, groups=found.shares.shape[2])


@dataclass(frozen=True)
class ExposureCap(Rerank):
    """No item is in more than ``ceil(B (k / N) ** strength)`` of B lists that are made together."""

    candidates: int = 100
    together: ClassVar[bool] = True

    def choose(self, found: Candidates, k: int, strength: jax.Array) -> jax.Array:
        """See ``rexjax.rerank.capped``."""
        return capped(found.scores, found.items, k, strength[0], total=found.total)
