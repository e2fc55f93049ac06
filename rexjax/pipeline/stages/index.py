"""Stage index: all that serving needs, in one folder."""

import shutil
from pathlib import Path
from typing import Any

from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.evaluation.cost import tree_bytes
from rexjax.families import unmet
from rexjax.families.base import need_vectors
from rexjax.pipeline.stages import inputs
from rexjax.retrieval import index


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes the state of the variant to serve, the id map and the popularity fallback into ``folder``."""
    data = inputs.training_data(config, {"prepare": artifacts["prepare"]})
    name = config.compress.serve
    model = inputs.variant_model(artifacts["compress"], name)
    state = inputs.fitted(artifacts["compress"].folder / name, model)
    shutil.copy(artifacts["prepare"].folder / "items.parquet", folder / "items.parquet")
    factor = unmet.factor_of(need_vectors(model.scorer(state), name, "an index"), data.popularity == 0)
    index.write(folder, model, state, config.data.length, data.popularity, name=f"student_{name}", unmet=factor)
    return {"items": data.items, "bytes": tree_bytes(state)}


STAGE = Stage(
    name="index",
    run=run,
    needs=("prepare", "compress"),
    keys=("data.length", "student.model", "compress.serve"),
    packages=("numpy",),
    what="all that serving needs, in one folder",
)
