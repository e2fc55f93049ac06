"""Networks (Linen modules: hyper-parameters and ``__call__``) and fitted models as they answer."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.models.calibration import Isotonic as Isotonic
    from rexjax.models.calibration import fit_isotonic as fit_isotonic
    from rexjax.models.calibration import fit_temperature as fit_temperature
    from rexjax.models.fields import Crosses as Crosses
    from rexjax.models.fields import Field as Field
    from rexjax.models.fields import Fields as Fields
    from rexjax.models.fusion import Attended as Attended
    from rexjax.models.fusion import Concatenated as Concatenated
    from rexjax.models.fusion import Fusion as Fusion
    from rexjax.models.fusion import Gated as Gated
    from rexjax.models.fusion import Sum as Sum
    from rexjax.models.items import ItemEncoder as ItemEncoder
    from rexjax.models.pooled import PooledEncoder as PooledEncoder
    from rexjax.models.recommender import Recommender as Recommender
    from rexjax.models.scorer import Query as Query
    from rexjax.models.scorer import Scorer as Scorer
    from rexjax.models.scorer import dot_product as dot_product
    from rexjax.models.scorer import positions_of as positions_of
    from rexjax.models.scorer import score_matrix as score_matrix
    from rexjax.models.sequential import SequentialEncoder as SequentialEncoder
    from rexjax.models.towers import ItemTower as ItemTower
    from rexjax.models.towers import UserTower as UserTower
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "ItemEncoder": "rexjax.models.items",
            "ItemTower": "rexjax.models.towers",
            "PooledEncoder": "rexjax.models.pooled",
            "Query": "rexjax.models.scorer",
            "Recommender": "rexjax.models.recommender",
            "Scorer": "rexjax.models.scorer",
            "SequentialEncoder": "rexjax.models.sequential",
            "UserTower": "rexjax.models.towers",
            "dot_product": "rexjax.models.scorer",
            "positions_of": "rexjax.models.scorer",
            "score_matrix": "rexjax.models.scorer",
            "Field": "rexjax.models.fields",
            "Fields": "rexjax.models.fields",
            "Attended": "rexjax.models.fusion",
            "Concatenated": "rexjax.models.fusion",
            "Fusion": "rexjax.models.fusion",
            "Gated": "rexjax.models.fusion",
            "Sum": "rexjax.models.fusion",
            "Crosses": "rexjax.models.fields",
            "Isotonic": "rexjax.models.calibration",
            "fit_isotonic": "rexjax.models.calibration",
            "fit_temperature": "rexjax.models.calibration",
        },
    )
