"""A registry of immutable versions with a champion and a challenger."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.evaluation.gate import Margins as Margins
    from rexjax.registry.comparing import Comparison as Comparison
    from rexjax.registry.history import Event as Event
    from rexjax.registry.mirror import mirror_to_mlflow as mirror_to_mlflow
    from rexjax.registry.registry import Registry as Registry
    from rexjax.registry.versions import Version as Version
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Comparison": "rexjax.registry.comparing",
            "Event": "rexjax.registry.history",
            "Margins": "rexjax.evaluation.gate",
            "Registry": "rexjax.registry.registry",
            "Version": "rexjax.registry.versions",
            "mirror_to_mlflow": "rexjax.registry.mirror",
        },
    )
