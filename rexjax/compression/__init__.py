"""Pruning and quantisation of a trained student."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.compression.prune import gradually as gradually
    from rexjax.compression.prune import keep_zeros as keep_zeros
    from rexjax.compression.prune import magnitude_prune as magnitude_prune
    from rexjax.compression.quantize import QuantizedRows as QuantizedRows
    from rexjax.compression.quantize import dequantize as dequantize
    from rexjax.compression.quantize import dequantize_tree as dequantize_tree
    from rexjax.compression.quantize import quantize_rows as quantize_rows
    from rexjax.compression.quantize import quantize_tree as quantize_tree
    from rexjax.compression.quantize import straight_through as straight_through
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "QuantizedRows": "rexjax.compression.quantize",
            "dequantize": "rexjax.compression.quantize",
            "dequantize_tree": "rexjax.compression.quantize",
            "gradually": "rexjax.compression.prune",
            "keep_zeros": "rexjax.compression.prune",
            "magnitude_prune": "rexjax.compression.prune",
            "quantize_rows": "rexjax.compression.quantize",
            "quantize_tree": "rexjax.compression.quantize",
            "straight_through": "rexjax.compression.quantize",
        },
    )
