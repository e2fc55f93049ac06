"""Variants of a student: how many dimensions are kept, in how many bits each, and how many weights are zero."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rexjax.compression import quantize
from rexjax.embedding import quantized
from rexjax.errors import UserError
from rexjax.families.base import Model, Narrowable, need, need_history_alone, need_vectors

_PARTS = re.compile(r"(?:(?P<half>half)|w(?P<width>\d+))?_?(?:int(?P<bits>8|4))?_?(?:sparse(?P<zeros>\d\d?))?")
_SCALE_BYTES = jnp.dtype(quantized.ROW_SCALES).itemsize


class Variant(NamedTuple):
    """One way to store the student."""

    name: str
    """As in the config: ``int8``, ``int4``, ``half``, ``w24``, ``w24_int4``, ``int8_sparse50``."""
    width: int
    """Dimensions kept, the first ones in the order of what they add."""
    bits: int
    """Of each number in an item's row: 32 (float32), 8 or 4."""
    zeros: int = 0
    """Per cent of the history encoder's kernels that are zero."""

    @property
    def item_bytes(self) -> float:
        """Bytes of one item's row and its scale."""
        return self.width * self.bits / 8 + (_SCALE_BYTES if self.bits < 32 else 0)


def parse(name: str, width: int) -> Variant:
    """The variant that ``name`` means for a student of ``width``.

    Raises:
        UserError: it means none; the sentence says what there is.
    """
    found = _PARTS.fullmatch(name)
    if not found or not name.strip("_"):
        raise UserError(
            f"--compress.variants {name}: a variant is int8, int4, half, w24 or w24_int4 (24 dimensions), or "
            "sparse50 (half of the network's weights are zero), alone or after one of them"
        )
    own = width // 2 if found["half"] else int(found["width"] or width)
    variant = Variant(name, own, int(found["bits"] or 32), int(found["zeros"] or 0))
    if not 1 <= own <= width:
        raise UserError(f"--compress.variants {name}: the student is {width} wide; keep 1 to {width} dimensions")
    if variant.bits == 4 and own % 2:
        raise UserError(f"--compress.variants {name}: int4 rows keep two numbers a byte, and {own} is odd")
    return variant


def narrowed(model: Model, state: Any, variant: Variant) -> tuple[Model, Any]:
    """The float32 model of the variant's width, in axes that suit its bits, and its state.

    Raises:
        UserError: its dimensions cannot be left out.
    """
    if variant.width < width_of(model, state):
        model, state = need(model, Narrowable, f"--compress.variants {variant.name}: student.model").narrow(
            state, variant.width
        )
    if variant.bits < 32 and isinstance(model, Narrowable):
        state = model.rotate(state)
    return model, state


def width_of(model: Model, state: Any) -> int:
    """D of a model that has item vectors.

    Raises:
        UserError: it has none, or it reads more than the history.
    """
    scorer, key = model.scorer(state), f"student.model ({type(model).__name__})"
    need_history_alone(scorer, key, "what is compressed")
    return need_vectors(scorer, key, "compression").shape[1]


def quantized_state(state: Any, variant: Variant) -> Any:
    """As it is stored."""
    return state if variant.bits == 32 else quantize.quantize(state, variant.bits)


def fake_quantized(rows: jax.Array, variant: Variant) -> jax.Array:
    """Item rows as the variant stores them; gradients pass."""
    return rows if variant.bits == 32 else quantized.straight_through(rows, variant.bits, quantized.ROW_SCALES)
