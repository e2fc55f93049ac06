"""Sharded embedding tables whose updates touch only the rows that a batch names."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.embedding.bags import Combiner as Combiner
    from rexjax.embedding.bags import Feature as Feature
    from rexjax.embedding.bags import combine as combine
    from rexjax.embedding.bound import BoundTable as BoundTable
    from rexjax.embedding.ftrl import Ftrl as Ftrl
    from rexjax.embedding.optimizers import OPTIMIZERS as OPTIMIZERS
    from rexjax.embedding.optimizers import Adagrad as Adagrad
    from rexjax.embedding.optimizers import ExactAdam as ExactAdam
    from rexjax.embedding.optimizers import LazyAdam as LazyAdam
    from rexjax.embedding.optimizers import RowOptimizer as RowOptimizer
    from rexjax.embedding.optimizers import RowWiseAdagrad as RowWiseAdagrad
    from rexjax.embedding.optimizers import Sgd as Sgd
    from rexjax.embedding.optimizers import schedule as schedule
    from rexjax.embedding.table import Table as Table
    from rexjax.embedding.table import TableState as TableState
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Adagrad": "rexjax.embedding.optimizers",
            "BoundTable": "rexjax.embedding.bound",
            "Combiner": "rexjax.embedding.bags",
            "ExactAdam": "rexjax.embedding.optimizers",
            "Feature": "rexjax.embedding.bags",
            "LazyAdam": "rexjax.embedding.optimizers",
            "OPTIMIZERS": "rexjax.embedding.optimizers",
            "RowOptimizer": "rexjax.embedding.optimizers",
            "RowWiseAdagrad": "rexjax.embedding.optimizers",
            "Sgd": "rexjax.embedding.optimizers",
            "Table": "rexjax.embedding.table",
            "TableState": "rexjax.embedding.table",
            "combine": "rexjax.embedding.bags",
            "schedule": "rexjax.embedding.optimizers",
            "Ftrl": "rexjax.embedding.ftrl",
        },
    )
