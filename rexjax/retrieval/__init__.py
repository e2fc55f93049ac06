"""Cosine scores, top-k under jit, and the index that serving reads."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.retrieval import index as _index
    from rexjax.retrieval import sharded as _sharded
    from rexjax.retrieval.answer import top_k_of_scores as top_k_of_scores
    from rexjax.retrieval.index import Index as Index
    from rexjax.retrieval.index import Recommendation as Recommendation
    from rexjax.retrieval.index import find_items as find_items
    from rexjax.retrieval.index import recommend as recommend
    from rexjax.retrieval.topk import top_k as top_k

    place_items = _sharded.place
    read_index = _index.read
    sharded_top_k = _sharded.top_k
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Index": "rexjax.retrieval.index",
            "Recommendation": "rexjax.retrieval.index",
            "find_items": "rexjax.retrieval.index",
            "place_items": "rexjax.retrieval.sharded:place",
            "read_index": "rexjax.retrieval.index:read",
            "recommend": "rexjax.retrieval.index",
            "sharded_top_k": "rexjax.retrieval.sharded:top_k",
            "top_k": "rexjax.retrieval.topk",
            "top_k_of_scores": "rexjax.retrieval.answer",
        },
    )
