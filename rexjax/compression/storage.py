"""How the item rows of a variant are kept: the base of all ways, and the plain one."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from rexjax.families.base import Narrowable
from rexjax.models.served import Served


class Quantizer(NamedTuple):
    """How one student is quantised."""

    store: Callable[[Served], Served]
    """From float32 to what is kept."""
    fake: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    """(rows float32 [V, D], content float32 [V, W]) → the rows as ``store`` leaves them, float32 [V, D]; gradients
    pass. None: rows are kept as they are."""
    content: np.ndarray | None = None
    """float32 [N, W], what ``fake`` reads of each item; None: nothing."""


@dataclass(frozen=True)
class Storage(abc.ABC):
    """One way to keep item rows. A further one is a subclass in a file of its own, named in ``variants.STORAGES``."""

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """What a search chooses the best size of: ``int8``, ``pq``."""

    @property
    @abc.abstractmethod
    def fine_tuned(self) -> bool:
        """Whether it loses what fine-tuning can bring back."""

    @abc.abstractmethod
    def item_bytes(self, width: int) -> float:
        """Bytes of an item whose row has D = ``width``, without what all items share."""

    @abc.abstractmethod
    def misfit(self, width: int) -> str:
        """Why rows of D = ``width`` cannot be kept so, as the end of a sentence; "" where they can."""

    @abc.abstractmethod
    def turn(self, model: Narrowable, state: Served, popularity: np.ndarray) -> Served:
        """The same answers in axes that suit it; arguments as of ``quantizer``."""

    @abc.abstractmethod
    def quantizer(self, state: Served, popularity: np.ndarray, seed: int) -> Quantizer:
        """Of a float32 state.

        Args:
            state: with rows float32 [N, D].
            popularity: [N], training interactions.
            seed: of what is drawn.
        """


@dataclass(frozen=True)
class Float32(Storage):
    """Rows as they were trained."""

    kind = "float32"
    fine_tuned = False

    def item_bytes(self, width: int) -> float:
        """Four a number."""
        return 4.0 * width

    def misfit(self, width: int) -> str:
        """Any width fits."""
        return ""

    def turn(self, model: Narrowable, state: Served, popularity: np.ndarray) -> Served:
        """Any axes are as good."""
        return state

    def quantizer(self, state: Served, popularity: np.ndarray, seed: int) -> Quantizer:
        """Keeps all as it is."""
        return Quantizer(_same)


def _same(state: Served) -> Served:
    return state
