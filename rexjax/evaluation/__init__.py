"""One evaluator for every model, the interval of every difference, the cost of every answer."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.evaluation.comparison import Compared as Compared
    from rexjax.evaluation.comparison import compare as compare
    from rexjax.evaluation.comparison import holm as holm
    from rexjax.evaluation.confidence import expected_calibration_error as expected_calibration_error
    from rexjax.evaluation.cost import compiled_cost as compiled_cost
    from rexjax.evaluation.cost import interleaved as interleaved
    from rexjax.evaluation.cost import quantile as quantile
    from rexjax.evaluation.cost import tree_bytes as tree_bytes
    from rexjax.evaluation.cost import tree_parameters as tree_parameters
    from rexjax.evaluation.gate import Decision as Decision
    from rexjax.evaluation.gate import Margins as Margins
    from rexjax.evaluation.gate import Side as Side
    from rexjax.evaluation.gate import decide as decide
    from rexjax.evaluation.gate import users_needed as users_needed
    from rexjax.evaluation.metrics import coverage as coverage
    from rexjax.evaluation.metrics import per_user as per_user
    from rexjax.evaluation.propensity import Corrected as Corrected
    from rexjax.evaluation.propensity import effective_sample_size as effective_sample_size
    from rexjax.evaluation.propensity import snips as snips
    from rexjax.evaluation.ranking import Ranks as Ranks
    from rexjax.evaluation.ranking import Requests as Requests
    from rexjax.evaluation.ranking import Result as Result
    from rexjax.evaluation.ranking import count_ranks as count_ranks
    from rexjax.evaluation.ranking import evaluate as evaluate
    from rexjax.evaluation.ranking import ragged as ragged
    from rexjax.evaluation.significance import Estimate as Estimate
    from rexjax.evaluation.significance import Interval as Interval
    from rexjax.evaluation.significance import bootstrap_mean as bootstrap_mean
    from rexjax.evaluation.significance import paired_bootstrap as paired_bootstrap
    from rexjax.training.label_metrics import auc as auc
    from rexjax.training.label_metrics import log_loss as log_loss
    from rexjax.training.label_metrics import rmse as rmse
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Compared": "rexjax.evaluation.comparison",
            "Corrected": "rexjax.evaluation.propensity",
            "Decision": "rexjax.evaluation.gate",
            "Estimate": "rexjax.evaluation.significance",
            "Interval": "rexjax.evaluation.significance",
            "Margins": "rexjax.evaluation.gate",
            "Ranks": "rexjax.evaluation.ranking",
            "Requests": "rexjax.evaluation.ranking",
            "Result": "rexjax.evaluation.ranking",
            "Side": "rexjax.evaluation.gate",
            "bootstrap_mean": "rexjax.evaluation.significance",
            "compare": "rexjax.evaluation.comparison",
            "compiled_cost": "rexjax.evaluation.cost",
            "count_ranks": "rexjax.evaluation.ranking",
            "coverage": "rexjax.evaluation.metrics",
            "decide": "rexjax.evaluation.gate",
            "effective_sample_size": "rexjax.evaluation.propensity",
            "evaluate": "rexjax.evaluation.ranking",
            "expected_calibration_error": "rexjax.evaluation.confidence",
            "holm": "rexjax.evaluation.comparison",
            "interleaved": "rexjax.evaluation.cost",
            "paired_bootstrap": "rexjax.evaluation.significance",
            "per_user": "rexjax.evaluation.metrics",
            "quantile": "rexjax.evaluation.cost",
            "ragged": "rexjax.evaluation.ranking",
            "snips": "rexjax.evaluation.propensity",
            "tree_bytes": "rexjax.evaluation.cost",
            "tree_parameters": "rexjax.evaluation.cost",
            "auc": "rexjax.training.label_metrics",
            "log_loss": "rexjax.training.label_metrics",
            "rmse": "rexjax.training.label_metrics",
            "users_needed": "rexjax.evaluation.gate",
        },
    )
