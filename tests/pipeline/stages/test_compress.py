from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from rexjax.compression import prune, variants
from rexjax.config.schema import Compress
from rexjax.embedding.quantized import QuantizedRows, dequantize
from rexjax.errors import UserError
from rexjax.pipeline.stages import compress, inputs


def test_half_of_each_of_the_networks_matrices_is_zero_and_the_rest_was_trained_on(finished):
    sparse = inputs.served(finished.artifacts["compress"].folder / "int8_sparse50")
    student = inputs.served(finished.artifacts["distill"].folder / "student")
    for name in ("up", "down"):
        kernel = dequantize(sparse.history[name]["kernel"])
        before = student.history[name]["kernel"]
        assert abs((kernel == 0).mean() - 0.5) < 0.05  # int8 rounds a few more to zero
        assert np.abs(kernel - before)[kernel != 0].max() > 1e-3
    assert finished.artifacts["compress"].metrics["training"]["int8_sparse50"]["epochs"] == 1  # of the last step


def test_int8_rows_stand_for_the_student(finished):
    student = inputs.served(finished.artifacts["distill"].folder / "student")
    int8 = inputs.served(finished.artifacts["compress"].folder / "int8")
    assert isinstance(int8.items, QuantizedRows) and int8.items.values.dtype == np.int8
    even = prune.evenly(student)
    assert np.abs(dequantize(int8.items) - even.items).max() <= np.asarray(int8.items.scales).max() * 0.5001


def test_the_report_of_bytes_is_that_of_the_arrays(finished):
    size = finished.artifacts["compress"].metrics["bytes"]
    student = inputs.served(finished.artifacts["distill"].folder / "student")
    rows = len(student.items)
    assert size["student"] >= 4 * student.items.size
    assert size["int8"] == size["int8_sparse50"] < size["student"] / 2
    assert size["int8"] - size["int4"] == rows * 4  # eight numbers of half a byte less
    assert size["int4"] > size["w2_int4"]


@pytest.mark.parametrize(
    "name, width, dtype", [("half", 4, np.float32), ("int4", 8, np.uint8), ("w2_int4", 2, np.uint8)]
)
def test_what_is_narrowed_or_in_int4_was_trained_on(finished, name, width, dtype):
    found = inputs.served(finished.artifacts["compress"].folder / name)
    metrics = finished.artifacts["compress"].metrics
    items = found.items if name == "half" else found.items.values
    assert items.dtype == dtype and items.shape[1] == width // (1 if name == "half" else 2)
    assert metrics["training"][name]["epochs"] == finished.config.compress.training.epochs
    assert "int8" not in metrics["training"]
    student = inputs.served(finished.artifacts["distill"].folder / "student")
    start = variants.quantized(variants.narrowed(student, variants.parse(name, 8), "pooled"), variants.parse(name, 8))
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max()), found, start)
    assert max(jax.tree.leaves(moved)) > 0


def test_training_goes_on_from_the_student_it_was_given(finished, tmp_path):
    """With a step size of nothing the point is its start, rounded."""
    still = replace(finished.config.compress.training, learning_rate=0.0)
    config = replace(finished.config, compress=replace(finished.config.compress, training=still))
    point = variants.parse("half", 8)
    student = inputs.served(finished.artifacts["distill"].folder / "student")
    start = variants.narrowed(student, point, "pooled")
    found, _ = compress.train(config, point, start, tmp_path, finished.artifacts)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), found, start)


def test_a_transformer_student_is_not_narrowed(finished, tmp_path):
    student = replace(finished.config.student, encoder="hstu")
    config = replace(finished.config, student=student, compress=Compress(points=("half",), served="half"))
    with pytest.raises(UserError, match="points half leaves dimensions out, which only a pooled student can bear"):
        compress.run(config, tmp_path, finished.artifacts)


@pytest.mark.parametrize(
    ("point", "weights", "expected"),
    [("int4", (0.6,), 0.6), ("half", (0.6,), 0.8), ("half", (0.2, 0.6), 0.8), ("w6_int4", (1.0,), 1.0)],
)
def test_labels_weigh_less_on_what_is_narrower(finished, point, weights, expected):
    config = replace(finished.config, student=replace(finished.config.student, list_weight=weights))
    assert compress.list_weight(config, variants.parse(point, config.student.width)) == pytest.approx(expected)
