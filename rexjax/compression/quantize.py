"""A trained student in int8 or int4: its item rows, and the kernels of its history encoder."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.compression.prune import is_kernel
from rexjax.compression.storage import Quantizer, Storage
from rexjax.embedding.quantized import ROW_SCALES, quantize_rows, straight_through
from rexjax.families.base import Narrowable
from rexjax.models.served import Served

_SCALE_BYTES = jnp.dtype(ROW_SCALES).itemsize


@dataclass(frozen=True)
class Integers(Storage):
    """Numbers of 8 or 4 bits, with one scale a row."""

    bits: int

    @property
    def kind(self) -> str:
        """By the bits."""
        return f"int{self.bits}"

    @property
    def fine_tuned(self) -> bool:
        """int8 alone loses nothing that training could bring back."""
        return self.bits == 4

    def item_bytes(self, width: int) -> float:
        """Of a row and its scale."""
        return width * self.bits / 8 + _SCALE_BYTES

    def misfit(self, width: int) -> str:
        """int4 rows are of even width."""
        return f"int4 rows keep two numbers a byte, and {width} is odd" if self.bits == 4 and width % 2 else ""

    def turn(self, model: Narrowable, state: Served, popularity: np.ndarray) -> Served:
        """Axes drawn at random: no dimension is larger than the others."""
        return model.rotate(state)

    def quantizer(self, state: Served, popularity: np.ndarray, seed: int) -> Quantizer:
        """The same for all items."""
        return Quantizer(partial(quantize, bits=self.bits), partial(_fake, bits=self.bits))


def _fake(rows: jax.Array, content: jax.Array, bits: int) -> jax.Array:
    del content
    return straight_through(rows, bits, ROW_SCALES)


def quantize(served: Served, bits: int) -> Served:
    """Item rows in ``bits``; the history encoder's kernels in int8."""
    return Served(quantize_rows(served.items, bits, ROW_SCALES), quantize_tree(served.history))


def quantize_tree(tree: Any) -> Any:
    """Every kernel of ``tree`` in int8 (a row is a slice along the last axis); what is no product's matrix stays
    float32. (The few recency profiles of a pooled student, in int8, changed more of its answers than all else.)

    >>> import jax.numpy as jnp
    >>> tree = quantize_tree({"kernel": jnp.asarray([[1.0, -0.5]]), "bias": jnp.asarray([1.0])})
    >>> str(tree["kernel"].values.dtype), str(tree["bias"].dtype)
    ('int8', 'float32')
    """
    return jax.tree.map_with_path(lambda path, leaf: quantize_rows(leaf) if is_kernel(path) else leaf, tree)
