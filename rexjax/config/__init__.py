"""What a run is told: the schema of a config file, and checks of its values."""

from rexjax.compression.settings import Compress
from rexjax.config.schema import Config, Mesh, load
from rexjax.config.stage import Stage
from rexjax.data.features.declared import Bag, Categorical, Cross, Feature, Numeric
from rexjax.data.settings import Columns, Csv, Data
from rexjax.data.sources import Files, Frames, Shop, Source, Tfds
from rexjax.distillation.settings import Student
from rexjax.encoders.settings import Encode
from rexjax.evaluation.metrics import ListMetric, RankMetric
from rexjax.evaluation.settings import Evaluate
from rexjax.families.base import Model
from rexjax.families.blend import Blend
from rexjax.families.cross_fitted import CrossFitted
from rexjax.families.decayed import DecayedPopularity
from rexjax.families.dmf import DMF
from rexjax.families.factors import BPRMF, WARP
from rexjax.families.ials import IALS
from rexjax.families.linear import Ease, ItemKNN
from rexjax.families.neural import GMF, MLP, NeuMF
from rexjax.families.pooled import Pooled
from rexjax.families.popularity import Popularity, RecentPopularity
from rexjax.families.rankers import DLRM, FM, DCNv2, DeepFM, FinalMLP, LogisticRegression, WideDeep
from rexjax.families.rules import SequentialRules
from rexjax.families.slim import Slim
from rexjax.families.text import TextCosine
from rexjax.families.text_knn import TextKNN
from rexjax.families.transformer import Transformer
from rexjax.families.two_stage import TwoStage
from rexjax.families.two_tower import TwoTower
from rexjax.families.walks import RP3beta
from rexjax.models.fields import Crosses
from rexjax.models.fusion import Attended, Concatenated, Fusion, Gated, Sum
from rexjax.rerank.settings import DPP, MMR, Calibrated, ExposureCap, Quota, Rerank, XQuAD
from rexjax.training.labelled import LabelledTraining
from rexjax.training.pairs import PairTraining
from rexjax.training.settings import Rows, Training

__all__ = [
    "Attended",
    "Concatenated",
    "Fusion",
    "Gated",
    "Sum",
    "Bag",
    "Calibrated",
    "DPP",
    "ExposureCap",
    "MMR",
    "Quota",
    "Rerank",
    "XQuAD",
    "Blend",
    "Categorical",
    "Columns",
    "Compress",
    "Config",
    "Cross",
    "Csv",
    "Data",
    "Encode",
    "Evaluate",
    "Feature",
    "Files",
    "Frames",
    "ListMetric",
    "Mesh",
    "Model",
    "Numeric",
    "Pooled",
    "Popularity",
    "RankMetric",
    "Rows",
    "Shop",
    "Source",
    "Stage",
    "Student",
    "TextCosine",
    "Tfds",
    "Training",
    "Transformer",
    "Ease",
    "ItemKNN",
    "RecentPopularity",
    "SequentialRules",
    "RP3beta",
    "Slim",
    "DecayedPopularity",
    "CrossFitted",
    "IALS",
    "TextKNN",
    "TwoTower",
    "BPRMF",
    "WARP",
    "GMF",
    "MLP",
    "NeuMF",
    "DMF",
    "PairTraining",
    "TwoStage",
    "LogisticRegression",
    "FM",
    "WideDeep",
    "DeepFM",
    "DCNv2",
    "DLRM",
    "FinalMLP",
    "Crosses",
    "LabelledTraining",
    "load",
]
