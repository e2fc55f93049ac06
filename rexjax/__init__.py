"""rexjax: recommendation made cheap. A large model is run once, offline; a small one, distilled from it, answers users.

Public names are imported on first use, so that ``import rexjax`` is quick.
"""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax import compression as compression
    from rexjax import config as config
    from rexjax import data as data
    from rexjax import distillation as distillation
    from rexjax import embedding as embedding
    from rexjax import encoders as encoders
    from rexjax import evaluation as evaluation
    from rexjax import families as families
    from rexjax import losses as losses
    from rexjax import models as models
    from rexjax import registry as registry
    from rexjax import rerank as rerank
    from rexjax import retrieval as retrieval
    from rexjax import training as training
    from rexjax.config import schema as _schema
    from rexjax.config.schema import Config as Config
    from rexjax.data.frames import Dataset as Dataset
    from rexjax.errors import UserError as UserError
    from rexjax.evaluation import metrics as metrics
    from rexjax.evaluation.api import evaluate as evaluate
    from rexjax.families.base import Model as Model
    from rexjax.models.scorer import Query as Query
    from rexjax.models.scorer import Scorer as Scorer
    from rexjax.pipeline.compare import compare as compare
    from rexjax.pipeline.experiment import Experiment as Experiment
    from rexjax.pipeline.experiment import fit as fit
    from rexjax.pipeline.experiment import load as load
    from rexjax.pipeline.refresh.refresh import refresh as refresh
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
            "Dataset": "rexjax.data.frames",
            "Experiment": "rexjax.pipeline.experiment",
            "Model": "rexjax.families.base",
            "Query": "rexjax.models.scorer",
            "Scorer": "rexjax.models.scorer",
            "UserError": "rexjax.errors",
            "__version__": "rexjax.runtime.version",
            "compare": "rexjax.pipeline.compare",
            "compression": "rexjax.compression:",
            "config": "rexjax.config:",
            "data": "rexjax.data:",
            "distillation": "rexjax.distillation:",
            "embedding": "rexjax.embedding:",
            "encoders": "rexjax.encoders:",
            "evaluate": "rexjax.evaluation.api",
            "evaluation": "rexjax.evaluation:",
            "families": "rexjax.families:",
            "fit": "rexjax.pipeline.experiment",
            "load": "rexjax.pipeline.experiment",
            "load_config": "rexjax.config.schema:load",
            "losses": "rexjax.losses:",
            "make_mesh": "rexjax.runtime.mesh",
            "metrics": "rexjax.evaluation.metrics:",
            "models": "rexjax.models:",
            "refresh": "rexjax.pipeline.refresh.refresh",
            "registry": "rexjax.registry:",
            "rerank": "rexjax.rerank:",
            "retrieval": "rexjax.retrieval:",
            "run": "rexjax.pipeline.runner",
            "top_k": "rexjax.retrieval.topk",
            "training": "rexjax.training:",
        },
    )
