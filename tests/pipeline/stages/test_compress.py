import shutil
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from rexjax.artifacts.store import Artifact
from rexjax.compression import compress as compressing
from rexjax.compression import variants
from rexjax.config import Compress, Transformer
from rexjax.embedding.quantized import QuantizedRows, dequantize
from rexjax.errors import UserError
from rexjax.models import pooled_axes
from rexjax.pipeline.stages import compress, inputs


def state_of(finished, stage, name):
    return inputs.fitted(finished.artifacts[stage].folder / name, finished.config.student.model)


def test_half_of_each_of_the_networks_matrices_is_zero_and_the_rest_was_trained_on(finished):
    sparse = state_of(finished, "compress", "int8_sparse50")
    student = state_of(finished, "distill", "student")
    for name in ("up", "down"):
        kernel = dequantize(sparse.history[name]["kernel"])
        before = student.history[name]["kernel"]
        assert abs((kernel == 0).mean() - 0.5) < 0.05  # int8 rounds a few more to zero
        assert np.abs(kernel - before)[kernel != 0].max() > 1e-3
    assert finished.artifacts["compress"].metrics["training"]["int8_sparse50_3"]["epochs"] == 1  # of the last step


def test_int8_rows_stand_for_the_student(finished):
    student = state_of(finished, "distill", "student")
    int8 = state_of(finished, "compress", "int8")
    assert isinstance(int8.items, QuantizedRows) and int8.items.values.dtype == np.int8
    even = pooled_axes.evenly(student)
    assert np.abs(dequantize(int8.items) - even.items).max() <= np.asarray(int8.items.scales).max() * 0.5001


def test_the_report_of_bytes_is_that_of_the_arrays(finished):
    size = finished.artifacts["compress"].metrics["bytes"]
    student = state_of(finished, "distill", "student")
    rows = len(student.items)
    assert size["student"] >= 4 * student.items.size
    assert size["int8"] == size["int8_sparse50"] < size["student"] / 2
    assert size["int8"] - size["int4"] == rows * 4  # eight numbers of half a byte less
    assert size["int4"] > size["w2_int4"]


@pytest.mark.parametrize(
    "name, width, dtype", [("half", 4, np.float32), ("int4", 8, np.uint8), ("w2_int4", 2, np.uint8)]
)
def test_what_is_narrowed_or_in_int4_was_trained_on(finished, name, width, dtype):
    found = state_of(finished, "compress", name)
    metrics = finished.artifacts["compress"].metrics
    items = found.items if name == "half" else found.items.values
    assert items.dtype == dtype and items.shape[1] == width // (1 if name == "half" else 2)
    assert metrics["training"][name]["epochs"] == finished.config.compress.training.epochs
    assert "int8" not in metrics["training"]
    student = state_of(finished, "distill", "student")
    start = variants.prepare(finished.config.student.model, student, variants.parse(name, 8)).stored()
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max()), found, start)
    assert max(jax.tree.leaves(moved)) > 0


def test_codes_stay_and_books_are_trained(finished):
    found, student = state_of(finished, "compress", "pq4"), state_of(finished, "distill", "student")
    data = inputs.training_data(finished.config, {"prepare": finished.artifacts["prepare"]})
    variant = variants.parse("pq4", 8)
    start = variants.prepare(finished.config.student.model, student, variant, data.popularity, finished.config.seed)
    first = start.stored().items
    assert found.items.codes.dtype == np.uint8 and found.items.codes.shape == (len(student.items), 4)
    met = data.popularity > 0
    np.testing.assert_array_equal(found.items.codes[met], first.codes[met])
    moved = np.abs(np.asarray(found.items.books - first.books, np.float32))
    assert moved.shape == (4, 256, 2) and found.items.books.dtype == np.float16 and moved.max() > 1e-3
    metrics = finished.artifacts["compress"].metrics
    assert metrics["training"]["pq4"]["epochs"] == finished.config.compress.training.epochs
    scorer = finished.config.student.model.scorer(found)
    assert inputs.validator(data, finished.config)(scorer) == metrics["valid"]["pq4"]  # as it was before it was stored


def test_training_goes_on_from_the_student_it_was_given(finished, tmp_path):
    """With a step size of nothing the variant is its start, rounded."""
    still = replace(finished.config.compress.training, learning_rate=0.0)
    config = replace(finished.config, compress=replace(finished.config.compress, training=still))
    variant, model = variants.parse("half", 8), config.student.model
    student = state_of(finished, "distill", "student")
    prepared = variants.prepare(model, student, variant)
    data = inputs.training_data(config, {"prepare": finished.artifacts["prepare"]})
    own = inputs.run_of(config, data, tmp_path, "compress", "compress")
    tune = compress.fine_tuner(config, data, own, finished.artifacts["distill"].folder, variant, model.width)
    found = compressing.compress(prepared, config.compress, tune)
    assert found.model == prepared.model == replace(model, width=4)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), found.stored(), prepared.state)


def test_a_transformer_student_is_not_narrowed(finished, tmp_path):
    student = replace(finished.config.student, model=Transformer(width=16, layers=1))
    config = replace(finished.config, student=student, compress=Compress(variants=("half",), serve="half"))
    teacher = Artifact(tmp_path, finished.artifacts["teacher"].manifest)
    shutil.copytree(finished.artifacts["teacher"].folder / "model", tmp_path / "student")
    words = "--compress.variants half: student.model is Transformer, which cannot lose dimensions: choose another class"
    with pytest.raises(UserError, match=words):
        compress.run(config, tmp_path / "compress", finished.artifacts | {"distill": teacher})


@pytest.mark.parametrize(
    ("variant", "weight", "expected"),
    [("int4", 0.6, 0.6), ("half", 0.6, 0.8), ("half", 0.2, 0.6), ("w6_int4", 1.0, 1.0)],
)
def test_labels_weigh_less_on_what_is_narrower(variant, weight, expected):
    kept = variants.parse(variant, 8).width
    assert compressing.teacher_weight(weight, kept, 8) == pytest.approx(expected)


@pytest.mark.parametrize(("weights", "expected"), [((0.6,), 0.8), ((0.2, 0.6), 0.8)])
def test_a_variant_is_tuned_by_the_last_weight_and_temperature(finished, monkeypatch, weights, expected):
    asked = []
    monkeypatch.setattr(compress, "soft_targets", lambda folder, student: asked.append(student))
    student = replace(
        finished.config.student, teacher_weight=weights, teacher_temperature=(1.0, 3.0), alignment_weight=0.5
    )
    config = replace(finished.config, student=student)
    compress.fine_tuner(config, None, None, None, variants.parse("half", 8), 8)
    assert asked[0].teacher_weight == pytest.approx((expected,))
    assert (asked[0].teacher_temperature, asked[0].alignment_weight) == ((3.0,), 0.0)
