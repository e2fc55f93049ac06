"""rexjax: a large recommender is run once, offline; what it learnt is pressed into a small one that answers users.

Public names are imported on first use, so that ``import rexjax`` is quick.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "Config": "rexjax.config.schema",
    "Recommender": "rexjax.models.recommender",
    "UserError": "rexjax.errors",
    "evaluate": "rexjax.evaluation.api",
    "load_config": "rexjax.config.schema:load",
    "make_mesh": "rexjax.runtime.mesh",
    "run": "rexjax.pipeline.runner",
    "top_k": "rexjax.retrieval.topk",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'rexjax' has no attribute {name!r}")
    module, _, attribute = _NAMES[name].partition(":")
    return getattr(import_module(module), attribute or name)
