import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from rexjax.artifacts import store
from rexjax.artifacts.store import Artifact
from rexjax.cli.main import main
from rexjax.config import Config, Data, Encode
from rexjax.encoders import tfidf
from rexjax.errors import UserError
from rexjax.pipeline.stages import encode

LINES = [3, 0, 4, 1]  # dense id → line of an items file of five
VECTORS = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


def run(tmp_path, vectors, rows=5, titles="abcd", columns=("title",), cold=None, **settings):
    prepare, folder = tmp_path / "prepare", tmp_path / "encode"
    prepare.mkdir()
    folder.mkdir()
    items = {"item": range(4), "item_id": list("abcd"), "row": LINES, "title": titles, "text": titles}
    pq.write_table(pa.table({name: list(column) for name, column in items.items()}), prepare / "items.parquet")
    np.save(tmp_path / "vectors.npy", vectors)
    if cold is not None:
        np.save(prepare / "cold_items.npy", cold)
    config = Config(
        workdir="", data=Data(text=columns), encode=Encode(vectors=str(tmp_path / "vectors.npy"), **settings)
    )
    metrics = encode.run(config, folder, {"prepare": Artifact(prepare, {"metrics": {"catalogue_rows": rows}})})
    return metrics, np.load(folder / "vectors.npy")


def test_vectors_by_line_come_into_the_order_of_dense_ids(tmp_path):
    metrics, found = run(tmp_path, VECTORS, width=6, reduction="none")
    # `none` keeps directions, whatever it does to lengths
    expected = VECTORS[LINES] / np.linalg.norm(VECTORS[LINES], axis=1, keepdims=True)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), expected, rtol=1e-5)
    assert found.dtype == np.float32
    assert metrics["parts"]["text"]["provenance"] == {"vectors": "vectors.npy", "shape": [5, 6]}
    assert metrics["parts"]["text"]["explained_variance"] == pytest.approx(1)


@pytest.mark.parametrize("reduction", ["pca", "whiten", "select"])
def test_items_that_are_held_out_change_nothing_of_the_others(tmp_path, reduction):
    """Neither their vectors nor their words: statistics of text are fitted on the warm items."""
    cold, found = np.array([False, False, True, False]), []
    for number, (value, words) in enumerate([(1.0, "red mug"), (50.0, "jug pan")]):
        place, vectors = tmp_path / str(number), VECTORS.copy()
        place.mkdir()
        vectors[LINES[2]] = value * np.arange(6)
        texts = ("red mug", "blue mug", words, "red jug")
        found.append(run(place, vectors, titles=texts, cold=cold, width=2, reduction=reduction, tfidf_width=2)[1])
    np.testing.assert_array_equal(found[0][~cold], found[1][~cold])
    assert (found[0][cold] != found[1][cold]).any()
    place = tmp_path / "all"
    place.mkdir()
    texts = ("red mug", "blue mug", "jug pan", "red jug")
    whole = run(place, vectors, titles=texts, width=2, reduction=reduction, tfidf_width=2)[1]
    assert not np.allclose(whole[~cold], found[1][~cold])  # fitted on all items they are others


def test_vectors_are_reduced_and_those_without_text_counted(tmp_path):
    vectors = VECTORS.copy()
    vectors[LINES[2]] = 0
    metrics, found = run(tmp_path, vectors, width=1)
    assert found.shape == (4, 1) and metrics["parts"]["text"]["width"] == 1
    assert metrics["parts"]["text"]["items_without"] == 1
    assert 0 < metrics["parts"]["text"]["explained_variance"] < 1
    np.testing.assert_array_equal(found[2], 0)


@pytest.mark.parametrize("reduction, width, wide", [("pca", 2, 2), ("pca", 4, 3), ("none", 6, 3)])
def test_more_vectors_stand_beside_the_text_under_their_name(tmp_path, reduction, width, wide):
    image = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    image[LINES[1]] = 0  # this item has none
    np.save(tmp_path / "image.npy", image)
    more = (f"image={tmp_path / 'image.npy'}",)
    metrics, found = run(tmp_path, VECTORS, width=width, reduction=reduction, extra_vectors=more)
    assert list(metrics["parts"]) == ["text", "image"]
    assert metrics["parts"]["image"]["width"] == wide and metrics["parts"]["image"]["items_without"] == 1
    assert found.shape == (4, width + wide)
    np.testing.assert_array_equal(found[1, width:], 0)
    if reduction == "none":
        lengths = np.linalg.norm(image[LINES], axis=1, keepdims=True)
        np.testing.assert_allclose(found[:, width:], image[LINES] / np.maximum(lengths, 1e-12), rtol=1e-5)


@pytest.mark.parametrize("more", ["image", "=image.npy", "image=", "text=image.npy", "a=absent.npy"])
def test_more_vectors_that_have_no_name_or_file_are_refused(tmp_path, more):
    with pytest.raises(UserError, match="NAME=FILE.npy|cannot be read"):
        run(tmp_path, VECTORS, width=2, extra_vectors=(more,))


@pytest.mark.parametrize(
    ("vectors", "rows", "words"),
    [
        (VECTORS[:4], 5, "has 4 rows, but the data has 5 items"),
        (VECTORS, 6, "has 5 rows, but the data has 6 items"),
        (VECTORS, None, "this log has none: see --data.items"),
        (VECTORS[0], 5, "must be"),
        (np.where(np.arange(6) == 3, np.nan, VECTORS), 5, "NaN or infinity in row 0"),
        (VECTORS.astype(int), 5, "holds int64"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(tmp_path, vectors, rows, words):
    with pytest.raises(UserError, match=words):
        run(tmp_path, vectors, rows, width=2)


@pytest.mark.parametrize(
    ("shape", "words"),
    [(None, "has no tensor embeddings.position_embeddings.weight"), ((3, 4), r"has shape \[3, 4\].*asks for \[8, 4\]")],
)
def test_a_model_that_is_not_whole_is_refused_by_the_command(tmp_path, capsys, shape, words):
    sizes = {"vocab_size": 4, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    sizes |= {"intermediate_size": 4, "max_position_embeddings": 8, "type_vocab_size": 2}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "bert"} | sizes))
    tensors = {"embeddings.word_embeddings.weight": np.zeros((4, 4), np.float32)}
    if shape:
        tensors["embeddings.position_embeddings.weight"] = np.zeros(shape, np.float32)
    safetensors.numpy.save_file(tensors, tmp_path / "model" / "model.safetensors")
    config = tmp_path / "tiny.py"
    config.write_text(
        "from rexjax.config import *\ndef get_config():\n"
        "    data = Data(source=Shop(users=60, items=40, interactions=600, days=30), min_item_events=1, strict=False)\n"
        f"    return Config(workdir={str(tmp_path / 'workdir')!r}, data=data)\n"
    )
    main(["prepare", str(config)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(config), "--encode.model", str(tmp_path / "model"), "--update"])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("rexjax: ") and err.count("\n") == 1
    assert re.search(words, err)
    assert store.read(tmp_path / "workdir" / "prepare")


def test_tfidf_stands_between_the_text_and_extra_vectors(tmp_path):
    image = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    titles = ["red lip stick", "red polish", "lip polish stick", "red stick"]
    more = (f"image={tmp_path / 'image.npy'}",)
    metrics, found = run(tmp_path, VECTORS, width=2, tfidf_width=2, extra_vectors=more, titles=titles)
    assert list(metrics["parts"]) == ["text", "tfidf", "image"] and found.shape == (4, 6)
    assert metrics["parts"]["tfidf"]["width"] == 2 and metrics["parts"]["tfidf"]["provenance"]["words"] == 4
    np.testing.assert_array_equal(found[:, 2:4], tfidf.encode_words(titles, 2)[0])


def test_tfidf_is_as_wide_as_the_texts_allow_and_says_so(tmp_path):
    titles = ["red lip stick", "red polish", "blue lip stick", "blue"]
    metrics, found = run(tmp_path, VECTORS, width=2, tfidf_width=64, titles=titles)
    assert metrics["parts"]["tfidf"]["width"] == 3 and found.shape == (4, 5)
    config = Config(workdir="", encode=Encode(tfidf_width=64))
    assert "TF-IDF vectors are 3 wide and not --encode.tfidf-width 64" in encode.show(metrics, config)[-1]


def test_tfidf_without_text_are_refused(tmp_path):
    with pytest.raises(UserError, match="--encode.tfidf-width needs the items' text"):
        run(tmp_path, VECTORS, width=2, tfidf_width=2, columns=())
