"""A trained student in int8 or int4: its item rows, and the kernels of its history encoder."""

from typing import Any

import jax

from rexjax.compression.prune import is_kernel
from rexjax.embedding.quantized import ROW_SCALES, quantize_rows
from rexjax.models.served import Served


def quantize(served: Served, bits: int) -> Served:
    """Item rows in ``bits``; the history encoder's kernels in int8."""
    return Served(quantize_rows(served.items, bits, ROW_SCALES), quantize_tree(served.history))


def quantize_tree(tree: Any) -> Any:
    """Every kernel of ``tree`` in int8 (a row is a slice along the last axis); what is no product's matrix stays
    float32. (The few recency profiles of a pooled student, in int8, changed more of its answers than all else.)"""
    return jax.tree.map_with_path(lambda path, leaf: quantize_rows(leaf) if is_kernel(path) else leaf, tree)
