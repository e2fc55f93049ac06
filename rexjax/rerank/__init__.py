"""Lists that are good as lists: MMR, DPP, xQuAD, calibration, quotas and exposure caps, under jit."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.rerank.limits import capped as capped
    from rexjax.rerank.limits import check_quota as check_quota
    from rexjax.rerank.limits import quota as quota
    from rexjax.rerank.lists import Catalogue as Catalogue
    from rexjax.rerank.lists import catalogue as catalogue
    from rexjax.rerank.lists import rerank_lists as rerank_lists
    from rexjax.rerank.lists import unit_range as unit_range
    from rexjax.rerank.settings import DPP as DPP
    from rexjax.rerank.settings import MMR as MMR
    from rexjax.rerank.settings import Calibrated as Calibrated
    from rexjax.rerank.settings import Candidates as Candidates
    from rexjax.rerank.settings import ExposureCap as ExposureCap
    from rexjax.rerank.settings import Quota as Quota
    from rexjax.rerank.settings import Rerank as Rerank
    from rexjax.rerank.settings import XQuAD as XQuAD
    from rexjax.rerank.shares import calibrated as calibrated
    from rexjax.rerank.shares import divergence as divergence
    from rexjax.rerank.shares import xquad as xquad
    from rexjax.rerank.similar import dpp as dpp
    from rexjax.rerank.similar import mmr as mmr
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "unit_range": "rexjax.rerank.lists",
            "rerank_lists": "rexjax.rerank.lists",
            "catalogue": "rexjax.rerank.lists",
            "Catalogue": "rexjax.rerank.lists",
            "Candidates": "rexjax.rerank.settings",
            "Rerank": "rexjax.rerank.settings",
            "ExposureCap": "rexjax.rerank.settings",
            "Quota": "rexjax.rerank.settings",
            "Calibrated": "rexjax.rerank.settings",
            "XQuAD": "rexjax.rerank.settings",
            "MMR": "rexjax.rerank.settings",
            "DPP": "rexjax.rerank.settings",
            "calibrated": "rexjax.rerank.shares",
            "capped": "rexjax.rerank.limits",
            "check_quota": "rexjax.rerank.limits",
            "divergence": "rexjax.rerank.shares",
            "dpp": "rexjax.rerank.similar",
            "mmr": "rexjax.rerank.similar",
            "quota": "rexjax.rerank.limits",
            "xquad": "rexjax.rerank.shares",
        },
    )
