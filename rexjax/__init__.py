"""rexjax: a large recommender is run once, offline; what it learnt is pressed into a small one that answers users.

Public names are imported on first use, so that ``import rexjax`` is quick.
"""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax import compression as compression
    from rexjax import data as data
    from rexjax import embedding as embedding
    from rexjax import encoders as encoders
    from rexjax import evaluation as evaluation
    from rexjax import losses as losses
    from rexjax import retrieval as retrieval
    from rexjax import training as training
    from rexjax.config import schema as _schema
    from rexjax.config.schema import Config as Config
    from rexjax.errors import UserError as UserError
    from rexjax.evaluation.ranking import evaluate as evaluate
    from rexjax.models.recommender import Recommender as Recommender
    from rexjax.pipeline.runner import run as run
    from rexjax.retrieval.topk import top_k as top_k
    from rexjax.runtime.mesh import make_mesh as make_mesh
    from rexjax.runtime.version import __version__ as __version__

    load_config = _schema.load
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Config": "rexjax.config.schema",
            "Recommender": "rexjax.models.recommender",
            "UserError": "rexjax.errors",
            "__version__": "rexjax.runtime.version",
            "compression": "rexjax.compression:",
            "data": "rexjax.data:",
            "embedding": "rexjax.embedding:",
            "encoders": "rexjax.encoders:",
            "evaluate": "rexjax.evaluation.ranking",
            "evaluation": "rexjax.evaluation:",
            "load_config": "rexjax.config.schema:load",
            "losses": "rexjax.losses:",
            "make_mesh": "rexjax.runtime.mesh",
            "retrieval": "rexjax.retrieval:",
            "run": "rexjax.pipeline.runner",
            "top_k": "rexjax.retrieval.topk",
            "training": "rexjax.training:",
        },
    )
