"""Stage 2, encode: item text becomes vectors, reduced to a small width."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from rexjax.artifacts import owned
from rexjax.artifacts.files import file_hash
from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.encoders import loading, reduce, text
from rexjax.encoders.cleaning import clean_texts
from rexjax.encoders.loading import TextModel
from rexjax.encoders.settings import Encode
from rexjax.encoders.tfidf import encode_words
from rexjax.errors import UserError
from rexjax.pipeline.stages import inputs
from rexjax.runtime.mesh import make_mesh

_MANY = 0.1
"""Of the items or tokens: what is worth a warning."""
_WORDS = "set --encode.tfidf-width 64, which reads words, and characters where a script has no spaces"


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes ``vectors.npy`` (float32 [N, W]) into ``folder``: text, TF-IDF, further vectors. Words and reductions are
    fitted without the items that the split cold_items holds out.

    Returns:
        For each part by its name: provenance (model, pooling, hashes), width, explained variance, items without.
        Without text columns the text has width 0.
    """
    settings = config.encode
    items = inputs.titles(artifacts["prepare"])
    items["text"], cleaned = clean_texts(items["text"])
    warm = inputs.warm_items(artifacts["prepare"], len(items["text"]))
    parts = {"text": _text(config, items, folder, artifacts)} if config.data.text else {}
    if settings.tfidf_width:
        parts["tfidf"] = _tfidf(config, items, warm)
    for name, path in settings.extra_files().items():
        raw, provenance = _precomputed(path, items["row"], artifacts["prepare"])
        parts[name] = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12), provenance
    reduced, metrics = [np.zeros((len(items["text"]), 0), np.float32)], {"text": {"width": 0}}
    for name, (raw, provenance) in parts.items():
        raw = np.asarray(raw, np.float32)
        reduction = reduce.fit(raw[warm], *_reduction(name, raw.shape[1], settings))
        reduced.append(np.asarray(reduce.apply(reduction, raw)))
        metrics[name] = {
            "provenance": provenance,
            "width": reduced[-1].shape[1],
            "explained_variance": float(reduction.explained),
            "items_without": int((~np.any(raw, axis=1)).sum()),
            "items_alike": _alike(raw),
        }
    np.save(folder / "vectors.npy", np.concatenate(reduced, 1))
    owned.remove_unfinished(_shards(folder.parent))
    return {"reduction": settings.reduction, "cleaned": cleaned, "items": len(items["text"]), "parts": metrics}


def _alike(raw: np.ndarray) -> int:
    """Items that have a vector and share it with another item."""
    rows = np.round(raw[np.any(raw, axis=1)], 5) + 0  # -0 is 0
    return sum(count for count in Counter(row.tobytes() for row in rows).values() if count > 1)


def fill(config: Config, place: Path, artifacts: dict[str, Artifact]) -> int:
    """A worker's part of ``run``: encodes texts beside other workers until all shards are there; how many texts.

    Args:
        config: the experiment.
        place: of the stage's artifact.
        artifacts: that of stage prepare.

    Raises:
        UserError: the config takes its vectors from a file, or has no text.
    """
    if config.encode.vectors or not config.data.text:
        raise UserError("there is nothing to encode: the config has --encode.vectors, or no --data.text")
    texts, _ = clean_texts(inputs.titles(artifacts["prepare"])["text"])
    owned.make(place)
    shards = _shards(place)
    owned.make(shards)
    text.fill(_model(config), _prefixed(config, texts), shards, mesh=_mesh(config))
    return len(texts)


def _shards(place: Path) -> Path:
    """Beside the versions, so that it outlives unfinished ones: each shard says itself what it was made from."""
    return place / "shards"


def _model(config: Config) -> TextModel:
    return loading.load_model(Path(config.encode.model) if config.encode.model else loading.default_model_folder())


def _mesh(config: Config) -> Mesh:
    return make_mesh(config.mesh.data, config.mesh.model)


def _text(
    config: Config, items: dict[str, list[Any]], folder: Path, artifacts: dict[str, Artifact]
) -> tuple[np.ndarray, dict[str, Any]]:
    """float32 [N, W] before reduction, and where it is from."""
    if config.encode.vectors:
        return _precomputed(Path(config.encode.vectors), items["row"], artifacts["prepare"])
    model, texts = _model(config), _prefixed(config, items["text"])
    shards = _shards(folder.parent)
    owned.make(shards)
    vectors = text.encode_texts(model, texts, shards, mesh=_mesh(config))
    return vectors, text.provenance(model, texts)


def _prefixed(config: Config, texts: list[str]) -> list[str]:
    return [config.encode.prefix + text if text else "" for text in texts]


def _tfidf(config: Config, items: dict[str, list[Any]], warm: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    if not config.data.text:
        raise UserError("--encode.tfidf-width needs the items' text, and --data.text names no column")
    return encode_words(items["text"], config.encode.tfidf_width, warm)


def _reduction(name: str, width: int, settings: Encode) -> tuple[int, str]:
    """Width and method: those of the text; further parts follow as far as they can; TF-IDF is reduced already."""
    if name == "tfidf" or settings.reduction == "none" and name != "text":
        return width, "none"
    return settings.width if name == "text" else min(width, settings.width), settings.reduction


def _precomputed(path: Path, rows: list[int], prepare: Artifact) -> tuple[np.ndarray, dict[str, Any]]:
    """Vectors by line of the items file, brought into the order of dense ids."""
    if prepare.metrics["catalogue_rows"] is None:
        raise UserError(f"{path.name} has a row per line of the items file, and this log has none: see --data.items")
    vectors = text.read_vectors(path, prepare.metrics["catalogue_rows"])
    return np.asarray(vectors[np.asarray(rows)], np.float32), {"vectors": path.name, "shape": list(vectors.shape)}


def external(config: Config) -> dict[str, str]:
    """Hashes of the language model and of vectors from files."""
    settings, found = config.encode, {}
    if settings.vectors:
        found["vectors"] = _vectors_hash(Path(settings.vectors))
    elif config.data.text:
        folder = Path(settings.model) if settings.model else loading.default_model_folder()
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: --encode.model names a folder with config.json and model.safetensors")
        found["model"] = file_hash(folder)
    return found | {f"more {name}": _vectors_hash(path) for name, path in settings.extra_files().items()}


def _vectors_hash(path: Path) -> str:
    if not path.is_file():
        raise UserError(
            f"no file {path}: --encode.vectors and --encode.extra-vectors name .npy files with a row per item"
        )
    return file_hash(path)


def show(metrics: dict[str, Any], config: Config) -> list[str]:
    """What reduction keeps, what was cleaned and cut, and what the vectors cannot tell apart."""
    parts, width = {name: part for name, part in metrics["parts"].items() if part["width"]}, config.encode.tfidf_width
    lines = [
        f"{name}: vectors {part['width']} wide after {metrics['reduction']}, which keeps "
        f"{part['explained_variance']:.1%} of the variance; {part['items_without']} items without"
        for name, part in parts.items()
    ]
    counts = parts.get("text", {}).get("provenance", {})
    said = {"cleaned of HTML or control characters": metrics["cleaned"], "cut to its length": counts.get("truncated")}
    lines += [f"text: {count} of {metrics['items']} texts {what}" for what, count in said.items() if count]
    warnings = _unread(counts, width) + _alike_items(parts, metrics["items"], width) + _too_few_words(parts, width)
    return lines + [f"Warning: {warning}" for warning in warnings]


def _unread(counts: dict[str, Any], tfidf_width: int) -> list[str]:
    if counts.get("unknown", 0) <= _MANY * counts.get("tokens", 0):
        return []
    return [
        f"the text model does not know {counts['unknown']} of the {counts['tokens']} tokens of these texts: pass "
        "--encode.model FOLDER with a model of their language (multilingual-e5, bge)"
        + ("" if tfidf_width else f", and {_WORDS}")
    ]


def _alike_items(parts: dict[str, Any], items: int, tfidf_width: int) -> list[str]:
    return [
        f"{part['items_alike']} of {items} items share their {name} vector with another: name more columns in "
        f"--data.text{'' if tfidf_width else f', or {_WORDS}'}"
        for name, part in parts.items()
        if part["items_alike"] > _MANY * items
    ]


def _too_few_words(parts: dict[str, Any], tfidf_width: int) -> list[str]:
    width = parts["tfidf"]["width"] if tfidf_width else 0
    if width == tfidf_width:
        return []
    return [
        f"the words that these texts share span {width} directions, so TF-IDF vectors are {width} wide and not "
        f"--encode.tfidf-width {tfidf_width}"
    ]


STAGE = Stage(
    name="encode",
    run=run,
    needs=("prepare",),
    keys=("encode",),
    packages=("jax", "jaxlib", "flax", "tokenizers", "scipy", "numpy"),
    what="item text to vectors, by a pretrained language model",
    external=external,
    show=show,
)
