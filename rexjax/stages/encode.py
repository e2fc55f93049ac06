"""Stage 2, encode: item text becomes vectors, reduced to a small width."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from rexjax.artifacts import Artifact
from rexjax.config import Config
from rexjax.encoders import loading, reduce, text
from rexjax.errors import UserError
from rexjax.mesh import make_mesh
from rexjax.stages import inputs


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes ``vectors.npy`` (float32 [N, W]) into ``folder``.

    Returns:
        Provenance (model, pooling, hashes), width, explained variance, items without text; for items without any text
        columns, width 0.
    """
    items = inputs.titles(artifacts["prepare"])
    if not config.data.text:
        np.save(folder / "vectors.npy", np.zeros((len(items["text"]), 0), np.float32))
        return {"width": 0, "items_without_text": len(items["text"])}
    if config.encode.vectors:
        raw, provenance = _precomputed(Path(config.encode.vectors), items["row"], artifacts["prepare"])
    else:
        model = loading.load_model(Path(config.encode.model) if config.encode.model else loading.default_model_folder())
        raw = text.encode_texts(
            model, items["text"], folder / "shards", mesh=make_mesh(config.mesh.data, config.mesh.model)
        )
        provenance = text.provenance(model, items["text"])
    reduction = reduce.fit(raw, config.encode.width, config.encode.reduction)
    vectors = np.asarray(reduce.apply(reduction, raw))
    np.save(folder / "vectors.npy", vectors)
    shutil.rmtree(folder / "shards", ignore_errors=True)
    return {
        "provenance": provenance,
        "width": vectors.shape[1],
        "reduction": config.encode.reduction,
        "explained_variance": float(reduction.explained),
        "items_without_text": int((~np.any(raw, axis=1)).sum()),
    }


def _precomputed(path: Path, rows: list[int], prepare: Artifact) -> tuple[np.ndarray, dict[str, Any]]:
    """Vectors by line of the items file, brought into the order of dense ids."""
    if prepare.metrics["catalogue_rows"] is None:
        raise UserError(
            "--encode.vectors has a row per line of the items file, and this log has none: see --data.items"
        )
    vectors = text.read_vectors(path, prepare.metrics["catalogue_rows"])
    return np.asarray(vectors[np.asarray(rows)], np.float32), {"vectors": path.name, "shape": list(vectors.shape)}
