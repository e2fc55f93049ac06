import numpy as np

from rexjax.compression.quantize import QuantizedRows, dequantize
from rexjax.stages import inputs


def test_pruned_rows_have_their_share_of_zeros(finished):
    pruned = inputs.served(finished.artifacts["compress"].folder / "pruned")
    zeros = int(finished.config.compress.sparsity * pruned.items.size)
    assert (np.asarray(pruned.items) == 0).sum() == zeros


def test_int8_rows_stand_for_the_student(finished):
    student = inputs.served(finished.artifacts["distill"].folder / "student")
    int8 = inputs.served(finished.artifacts["compress"].folder / "int8")
    assert isinstance(int8.items, QuantizedRows) and int8.items.values.dtype == np.int8
    assert np.abs(dequantize(int8.items) - student.items).max() <= np.asarray(int8.items.scales).max() * 0.5001


def test_the_report_of_bytes_is_that_of_the_arrays(finished):
    size = finished.artifacts["compress"].metrics["bytes"]
    student = inputs.served(finished.artifacts["distill"].folder / "student")
    assert size["student"] == size["pruned"] >= 4 * student.items.size
    assert size["int8"] == size["pruned_int8"] < size["student"] / 2
