"""Columns as features: declared in a config, fitted on the training part, the same arrays offline and online."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.data.features.declared import Bag as Bag
    from rexjax.data.features.declared import Categorical as Categorical
    from rexjax.data.features.declared import Cross as Cross
    from rexjax.data.features.declared import Feature as Feature
    from rexjax.data.features.declared import Numeric as Numeric
    from rexjax.data.features.fitted import FeatureArray as FeatureArray
    from rexjax.data.features.fitted import FittedFeatures as FittedFeatures
    from rexjax.data.features.fitted import fit as fit
    from rexjax.data.features.fitted import from_json as from_json
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Bag": "rexjax.data.features.declared",
            "Categorical": "rexjax.data.features.declared",
            "Cross": "rexjax.data.features.declared",
            "Feature": "rexjax.data.features.declared",
            "FeatureArray": "rexjax.data.features.fitted",
            "FittedFeatures": "rexjax.data.features.fitted",
            "Numeric": "rexjax.data.features.declared",
            "fit": "rexjax.data.features.fitted",
            "from_json": "rexjax.data.features.fitted",
        },
    )
