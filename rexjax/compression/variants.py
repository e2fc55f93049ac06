"""Points on the way from the student to something smaller: how many dimensions are kept, in how many bits each, and how
many of the network's weights are zero."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rexjax.compression import prune, quantize
from rexjax.embedding import quantized
from rexjax.errors import UserError
from rexjax.models.served import Served

_PARTS = re.compile(r"(?:(?P<half>half)|w(?P<width>\d+))?_?(?:int(?P<bits>8|4))?_?(?:sparse(?P<zeros>\d\d?))?")
_SCALE_BYTES = jnp.dtype(quantized.ROW_SCALES).itemsize


class Point(NamedTuple):
    """One way to keep the student."""

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


def parse(name: str, width: int) -> Point:
    """The point that ``name`` means for a student of ``width``.

    Raises:
        UserError: it means none; the sentence says what there is.
    """
    found = _PARTS.fullmatch(name)
    if not found or not name.strip("_"):
        raise UserError(
            f"--compress.points {name}: a point is int8, int4, half, w24 or w24_int4 (24 dimensions), or "
            "sparse50 (half of the network's weights are zero), alone or after one of them"
        )
    own = width // 2 if found["half"] else int(found["width"] or width)
    point = Point(name, own, int(found["bits"] or 32), int(found["zeros"] or 0))
    if not 1 <= own <= width:
        raise UserError(f"--compress.points {name}: the student is {width} wide; keep 1 to {width} dimensions")
    if point.bits == 4 and own % 2:
        raise UserError(f"--compress.points {name}: int4 rows keep two numbers a byte, and {own} is odd")
    return point


def narrowed(student: Served, point: Point, encoder: str) -> Served:
    """The float32 student of the point's width, in axes that suit its bits.

    Raises:
        UserError: ``encoder`` is none whose dimensions can be left out.
    """
    narrower = point.width < student.items.shape[1]
    if encoder != "pooled":
        if narrower:
            raise UserError(
                f"--compress.points {point.name} leaves dimensions out, which only a pooled student can bear"
            )
        return student
    if narrower:
        student = prune.narrow(prune.by_importance(student), point.width)
    return student if point.bits == 32 else prune.evenly(student)


def quantized(student: Served, point: Point) -> Served:
    """As it is kept."""
    return student if point.bits == 32 else quantize.quantize(student, point.bits)


def rounded(rows: jax.Array, point: Point) -> jax.Array:
    """Item rows as the point would keep them; gradients pass."""
    return rows if point.bits == 32 else quantized.straight_through(rows, point.bits, quantized.ROW_SCALES)
