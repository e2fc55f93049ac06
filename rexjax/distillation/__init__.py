"""A large model teaches a small one."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.distillation.calibration import logit_scale as logit_scale
    from rexjax.distillation.settings import Student as Student
    from rexjax.distillation.teach import distill as distill
    from rexjax.distillation.teach import soft_targets as soft_targets
    from rexjax.distillation.teacher_top_k import top_k_of_batch as top_k_of_batch
    from rexjax.distillation.warm import follow as follow
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "Student": "rexjax.distillation.settings",
            "distill": "rexjax.distillation.teach",
            "follow": "rexjax.distillation.warm",
            "logit_scale": "rexjax.distillation.calibration",
            "soft_targets": "rexjax.distillation.teach",
            "top_k_of_batch": "rexjax.distillation.teacher_top_k",
        },
    )
