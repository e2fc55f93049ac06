"""Stage 5, compress: the student is pruned by magnitude and its rows and weights are quantised to int8."""

from pathlib import Path
from typing import Any

from rexjax.artifacts import Artifact
from rexjax.compression import prune, quantize
from rexjax.config import Config
from rexjax.evaluation.cost import tree_bytes
from rexjax.retrieval.index import flatten
from rexjax.stages import inputs
from rexjax.training.checkpoint import save_tree


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes ``pruned/`` (float32 with zeros) and ``int8/`` (the student, and the pruned one, quantised).

    Returns:
        Sparsity, bytes before and after, digests.
    """
    student = inputs.served(artifacts["distill"].folder / "student")
    pruned = prune.magnitude_prune(student, config.compress.sparsity)
    int8 = quantize.quantize_tree(student)
    pruned_int8 = quantize.quantize_tree(pruned)
    trees = {"pruned": pruned, "int8": int8, "pruned_int8": pruned_int8}
    content = {name: save_tree(folder / name, flatten(tree)) for name, tree in trees.items()}
    return {
        "sparsity": config.compress.sparsity,
        "bytes": {"student": tree_bytes(student)} | {name: tree_bytes(tree) for name, tree in trees.items()},
        "content": content,
    }
