"""Stage 6, index: all that serving needs, in one folder."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from rexjax.artifacts.store import Artifact
from rexjax.compression import variants
from rexjax.config.schema import Config
from rexjax.evaluation.cost import tree_bytes
from rexjax.pipeline.stages import inputs
from rexjax.retrieval import index


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes the rows of the point to be served, encoder, id map and popularity fallback into ``folder``."""
    log = inputs.prepared(artifacts["prepare"])
    point = variants.parse(config.compress.served, config.student.width)
    served = inputs.served(artifacts["compress"].folder / point.name)
    shutil.copy(artifacts["prepare"].folder / "items.parquet", folder / "items.parquet")
    index.write(folder, served, replace(config.student, width=point.width), config.data.length, log.popularity)
    return {"items": log.items, "bytes": tree_bytes(served)}
