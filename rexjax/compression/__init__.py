"""Pruning and quantisation of a trained student."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.compression.prune import gradually as gradually
    from rexjax.compression.prune import keep_zeros as keep_zeros
    from rexjax.compression.prune import magnitude_prune as magnitude_prune
    from rexjax.compression.quantize import quantize_tree as quantize_tree
    from rexjax.embedding.product import ProductRows as ProductRows
    from rexjax.embedding.product import fit_books as fit_books
    from rexjax.embedding.product import nearest_codes as nearest_codes
    from rexjax.embedding.quantized import QuantizedRows as QuantizedRows
    from rexjax.embedding.quantized import dequantize as dequantize
    from rexjax.embedding.quantized import dequantize_tree as dequantize_tree
    from rexjax.embedding.quantized import quantize_rows as quantize_rows
    from rexjax.embedding.quantized import straight_through as straight_through
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "ProductRows": "rexjax.embedding.product",
            "QuantizedRows": "rexjax.embedding.quantized",
            "dequantize": "rexjax.embedding.quantized",
            "dequantize_tree": "rexjax.embedding.quantized",
            "fit_books": "rexjax.embedding.product",
            "gradually": "rexjax.compression.prune",
            "keep_zeros": "rexjax.compression.prune",
            "magnitude_prune": "rexjax.compression.prune",
            "nearest_codes": "rexjax.embedding.product",
            "quantize_rows": "rexjax.embedding.quantized",
            "quantize_tree": "rexjax.compression.quantize",
            "straight_through": "rexjax.embedding.quantized",
        },
    )
