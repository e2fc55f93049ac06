"""Stage 6, index: all that serving needs, in one folder."""

import shutil
from pathlib import Path
from typing import Any

from rexjax.artifacts import Artifact
from rexjax.config import Config
from rexjax.evaluation.cost import tree_bytes
from rexjax.retrieval import index
from rexjax.stages import inputs


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes int8 rows, scales, encoder, id map and popularity fallback into ``folder``."""
    log = inputs.prepared(artifacts["prepare"])
    served = inputs.served(artifacts["compress"].folder / "int8")
    shutil.copy(artifacts["prepare"].folder / "items.parquet", folder / "items.parquet")
    index.write(folder, served, config.student, config.data.length, log.popularity)
    return {"items": log.items, "bytes": tree_bytes(served)}
