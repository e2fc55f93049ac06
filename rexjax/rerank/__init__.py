"""Lists that are good as lists: MMR, DPP, xQuAD, calibration, quotas and exposure caps, under jit."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.rerank.limits import capped as capped
    from rexjax.rerank.limits import check_quota as check_quota
    from rexjax.rerank.limits import quota as quota
    from rexjax.rerank.shares import calibrated as calibrated
    from rexjax.rerank.shares import divergence as divergence
    from rexjax.rerank.shares import xquad as xquad
    from rexjax.rerank.similar import dpp as dpp
    from rexjax.rerank.similar import mmr as mmr
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
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
