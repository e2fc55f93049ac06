"""What a run is told: the schema of a config file, and checks of its values."""

from rexjax.config.schema import (
    Columns,
    Compress,
    Config,
    Data,
    Encode,
    Evaluate,
    Mesh,
    Model,
    Popularity,
    Shop,
    Stage,
    Student,
    TextCosine,
    Transformer,
    load,
)
from rexjax.evaluation.metrics import ListMetric, RankMetric
from rexjax.families.blend import Blend
from rexjax.families.pooled import Pooled
from rexjax.training.settings import Rows, Training

__all__ = [
    "Blend",
    "Columns",
    "Compress",
    "Config",
    "Data",
    "Encode",
    "Evaluate",
    "ListMetric",
    "Mesh",
    "Model",
    "Pooled",
    "Popularity",
    "RankMetric",
    "Rows",
    "Shop",
    "Stage",
    "Student",
    "TextCosine",
    "Training",
    "Transformer",
    "load",
]
