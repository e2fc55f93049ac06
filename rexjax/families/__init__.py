"""Families of models: what can be fitted on a log."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.families.base import Distillable as Distillable
    from rexjax.families.base import FineTuning as FineTuning
    from rexjax.families.base import Model as Model
    from rexjax.families.base import Narrowable as Narrowable
    from rexjax.families.base import Planned as Planned
    from rexjax.families.base import Run as Run
    from rexjax.families.base import SoftTargets as SoftTargets
    from rexjax.families.base import TrainingData as TrainingData
    from rexjax.families.base import Unsuitable as Unsuitable
    from rexjax.families.base import Updatable as Updatable
    from rexjax.families.base import fit as fit
    from rexjax.families.base import follow as follow
    from rexjax.families.blend import Blend as Blend
    from rexjax.families.cross_fitted import CrossFitted as CrossFitted
    from rexjax.families.decayed import DecayedPopularity as DecayedPopularity
    from rexjax.families.dmf import DMF as DMF
    from rexjax.families.factors import BPRMF as BPRMF
    from rexjax.families.factors import WARP as WARP
    from rexjax.families.gradient import GradientModel as GradientModel
    from rexjax.families.ials import IALS as IALS
    from rexjax.families.linear import Ease as Ease
    from rexjax.families.linear import ItemKNN as ItemKNN
    from rexjax.families.neural import GMF as GMF
    from rexjax.families.neural import MLP as MLP
    from rexjax.families.neural import NeuMF as NeuMF
    from rexjax.families.pooled import Pooled as Pooled
    from rexjax.families.popularity import Popularity as Popularity
    from rexjax.families.popularity import RecentPopularity as RecentPopularity
    from rexjax.families.rankers import DLRM as DLRM
    from rexjax.families.rankers import FM as FM
    from rexjax.families.rankers import DCNv2 as DCNv2
    from rexjax.families.rankers import DeepFM as DeepFM
    from rexjax.families.rankers import FinalMLP as FinalMLP
    from rexjax.families.rankers import LogisticRegression as LogisticRegression
    from rexjax.families.rankers import MMoE as MMoE
    from rexjax.families.rankers import SharedBottom as SharedBottom
    from rexjax.families.rankers import WideDeep as WideDeep
    from rexjax.families.ranking import Ranker as Ranker
    from rexjax.families.rules import SequentialRules as SequentialRules
    from rexjax.families.slim import Slim as Slim
    from rexjax.families.text import TextCosine as TextCosine
    from rexjax.families.text_knn import TextKNN as TextKNN
    from rexjax.families.transformer import Transformer as Transformer
    from rexjax.families.two_stage import TwoStage as TwoStage
    from rexjax.families.two_tower import TwoTower as TwoTower
    from rexjax.families.walks import RP3beta as RP3beta
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "BPRMF": "rexjax.families.factors",
            "WARP": "rexjax.families.factors",
            "GMF": "rexjax.families.neural",
            "MLP": "rexjax.families.neural",
            "NeuMF": "rexjax.families.neural",
            "DMF": "rexjax.families.dmf",
            "RP3beta": "rexjax.families.walks",
            "Slim": "rexjax.families.slim",
            "DecayedPopularity": "rexjax.families.decayed",
            "CrossFitted": "rexjax.families.cross_fitted",
            "IALS": "rexjax.families.ials",
            "TextKNN": "rexjax.families.text_knn",
            "Blend": "rexjax.families.blend",
            "Distillable": "rexjax.families.base",
            "Ease": "rexjax.families.linear",
            "ItemKNN": "rexjax.families.linear",
            "RecentPopularity": "rexjax.families.popularity",
            "SequentialRules": "rexjax.families.rules",
            "FineTuning": "rexjax.families.base",
            "GradientModel": "rexjax.families.gradient",
            "Model": "rexjax.families.base",
            "Narrowable": "rexjax.families.base",
            "Planned": "rexjax.families.base",
            "Pooled": "rexjax.families.pooled",
            "Popularity": "rexjax.families.popularity",
            "Run": "rexjax.families.base",
            "SoftTargets": "rexjax.families.base",
            "TextCosine": "rexjax.families.text",
            "TrainingData": "rexjax.families.base",
            "Transformer": "rexjax.families.transformer",
            "TwoTower": "rexjax.families.two_tower",
            "Unsuitable": "rexjax.families.base",
            "Updatable": "rexjax.families.base",
            "fit": "rexjax.families.base",
            "LogisticRegression": "rexjax.families.rankers",
            "FM": "rexjax.families.rankers",
            "WideDeep": "rexjax.families.rankers",
            "DeepFM": "rexjax.families.rankers",
            "DCNv2": "rexjax.families.rankers",
            "DLRM": "rexjax.families.rankers",
            "FinalMLP": "rexjax.families.rankers",
            "SharedBottom": "rexjax.families.rankers",
            "MMoE": "rexjax.families.rankers",
            "Ranker": "rexjax.families.ranking",
            "TwoStage": "rexjax.families.two_stage",
            "follow": "rexjax.families.base",
        },
    )
