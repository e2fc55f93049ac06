"""Variants of a student: how many dimensions are kept, how an item's row is stored, how many weights are zero."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rexjax.compression.product_codes import ProductCodes
from rexjax.compression.quantize import Integers
from rexjax.compression.storage import Float32, Quantizer, Storage
from rexjax.errors import UserError
from rexjax.families.base import Model, Narrowable, need, need_history_alone, need_vectors

STORAGES: dict[str, Callable[[int], Storage]] = {"int[84]": Integers, r"pq\d+": ProductCodes}
"""By their names in a variant's name; each is made from the number in it."""
_PARTS = re.compile(
    rf"(?:(?P<half>half)|w(?P<width>\d+))?_?(?P<storage>{'|'.join(STORAGES)})?_?(?:sparse(?P<zeros>\d\d?))?"
)


class Variant(NamedTuple):
    """One way to store the student."""

    name: str
    """As in the config: ``int8``, ``int4``, ``pq16``, ``half``, ``w24``, ``w24_int4``, ``int8_sparse50``."""
    width: int
    """Dimensions kept, the first ones in the order of what they add."""
    storage: Storage
    """Of an item's row."""
    zeros: int = 0
    """Per cent of the history encoder's kernels that are zero."""

    @property
    def item_bytes(self) -> float:
        """Bytes of one item's row, with its scale if it has one, without books that all items share."""
        return self.storage.item_bytes(self.width)


class Prepared(NamedTuple):
    """A variant before its last quantisation."""

    variant: Variant
    model: Model
    """As wide as the variant."""
    state: Any
    """In float32."""
    quantizer: Quantizer
    fine_tuned: bool
    """Whether it loses what fine-tuning can bring back."""

    def stored(self) -> Any:
        """The state as it is kept."""
        return self.quantizer.store(self.state)


def parse(name: str, width: int) -> Variant:
    """The variant that ``name`` means for a student of ``width``.

    Raises:
        UserError: it means none; the sentence says what there is.
    """
    found = _PARTS.fullmatch(name)
    if not found or not name.strip("_"):
        raise UserError(
            f"--compress.variants {name}: a variant is int8, int4, pq16 (16 bytes an item), half, w24 or w24_int4 (24 "
            "dimensions), or sparse50 (half of the network's weights are zero), alone or after one of them"
        )
    own = width // 2 if found["half"] else int(found["width"] or width)
    if not 1 <= own <= width:
        raise UserError(f"--compress.variants {name}: the student is {width} wide; keep 1 to {width} dimensions")
    storage = _storage(found["storage"])
    if misfit := storage.misfit(own):
        raise UserError(f"--compress.variants {name}: {misfit}")
    return Variant(name, own, storage, int(found["zeros"] or 0))


def _storage(name: str | None) -> Storage:
    if not name:
        return Float32()
    make = next(make for pattern, make in STORAGES.items() if re.fullmatch(pattern, name))
    return make(int(name.lstrip("abcdefghijklmnopqrstuvwxyz")))


def prepare(
    model: Model, state: Any, variant: Variant, popularity: np.ndarray | None = None, seed: int = 0
) -> Prepared:
    """The variant without fine-tuning.

    Args:
        model: the student.
        state: its float32 state.
        variant: what to make of it.
        popularity: [N], training interactions; None: all items count alike.
        seed: of what is drawn.

    Raises:
        UserError: its dimensions cannot be left out.
    """
    known = np.ones(len(state.items)) if popularity is None or not popularity.any() else popularity
    narrow, small = narrowed(model, state, variant, known)
    fine_tuned = variant.storage.fine_tuned or variant.width < width_of(model, state) or variant.zeros > 0
    return Prepared(variant, narrow, small, variant.storage.quantizer(small, known, seed), fine_tuned)


def narrowed(model: Model, state: Any, variant: Variant, popularity: np.ndarray) -> tuple[Model, Any]:
    """The float32 model of the variant's width, in axes that suit its storage, and its state; as ``prepare``.

    Raises:
        UserError: its dimensions cannot be left out.
    """
    if variant.width < width_of(model, state):
        model, state = need(model, Narrowable, f"--compress.variants {variant.name}: student.model").narrow(
            state, variant.width
        )
    return model, variant.storage.turn(model, state, popularity) if isinstance(model, Narrowable) else state


def width_of(model: Model, state: Any) -> int:
    """D of a model that has item vectors.

    Raises:
        UserError: it has none, or it reads more than the history.
    """
    scorer, key = model.scorer(state), f"student.model ({type(model).__name__})"
    need_history_alone(scorer, key, "what is compressed")
    return need_vectors(scorer, key, "compression").shape[1]
