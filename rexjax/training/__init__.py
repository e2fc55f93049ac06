"""State, step, loop and checkpoint, used by teacher and student alike."""

from typing import TYPE_CHECKING

from rexjax._lazy import attach

if TYPE_CHECKING:
    from rexjax.training.checkpoint import restore_tree as restore_tree
    from rexjax.training.checkpoint import save_tree as save_tree
    from rexjax.training.ftrl_rule import ftrl as ftrl
    from rexjax.training.labelled import LabelledTraining as LabelledTraining
    from rexjax.training.loop import train as train
    from rexjax.training.state import TrainState as TrainState
    from rexjax.training.step import make_step as make_step
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "TrainState": "rexjax.training.state",
            "train": "rexjax.training.loop",
            "make_step": "rexjax.training.step",
            "restore_tree": "rexjax.training.checkpoint",
            "save_tree": "rexjax.training.checkpoint",
            "LabelledTraining": "rexjax.training.labelled",
            "ftrl": "rexjax.training.ftrl_rule",
        },
    )
