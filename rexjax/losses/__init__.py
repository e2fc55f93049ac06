"""Losses: over samples and lists, and cross-entropy over a catalogue that lies on a mesh."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.losses import sharded_softmax as _sharded_softmax
    from rexjax.losses.listwise import LISTWISE as LISTWISE
    from rexjax.losses.listwise import lambdarank as lambdarank
    from rexjax.losses.listwise import listmle as listmle
    from rexjax.losses.listwise import listnet as listnet
    from rexjax.losses.listwise import ndcg as ndcg
    from rexjax.losses.listwise import warp as warp
    from rexjax.losses.sampled import SAMPLED as SAMPLED
    from rexjax.losses.sampled import bpr as bpr
    from rexjax.losses.sampled import gbce as gbce
    from rexjax.losses.sampled import sampled_softmax as sampled_softmax
    from rexjax.losses.sampled import soft_cross_entropy as soft_cross_entropy
    from rexjax.losses.sampled import softmax_cross_entropy as softmax_cross_entropy
    from rexjax.losses.sharded_softmax import Targets as Targets
    from rexjax.losses.sharded_softmax import mixture as mixture
    from rexjax.losses.sharded_softmax import one_label as one_label

    sharded_cross_entropy = _sharded_softmax.cross_entropy
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "LISTWISE": "rexjax.losses.listwise",
            "SAMPLED": "rexjax.losses.sampled",
            "Targets": "rexjax.losses.sharded_softmax",
            "bpr": "rexjax.losses.sampled",
            "gbce": "rexjax.losses.sampled",
            "lambdarank": "rexjax.losses.listwise",
            "listmle": "rexjax.losses.listwise",
            "listnet": "rexjax.losses.listwise",
            "mixture": "rexjax.losses.sharded_softmax",
            "ndcg": "rexjax.losses.listwise",
            "one_label": "rexjax.losses.sharded_softmax",
            "sampled_softmax": "rexjax.losses.sampled",
            "sharded_cross_entropy": "rexjax.losses.sharded_softmax:cross_entropy",
            "soft_cross_entropy": "rexjax.losses.sampled",
            "softmax_cross_entropy": "rexjax.losses.sampled",
            "warp": "rexjax.losses.listwise",
        },
    )
