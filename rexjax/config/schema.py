"""Frozen dataclasses, one per stage; a config file is a Python module with ``get_config() -> Config``.

Every key has its help text beneath it: ``rexjax STAGE CONFIG --help`` prints it, ``--stage.key value`` overrides it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from rexjax.artifacts.classes import run_file
from rexjax.compression.settings import Compress
from rexjax.config.stage import Stage
from rexjax.config.values import normal
from rexjax.data.settings import Data
from rexjax.distillation.settings import Student
from rexjax.encoders.settings import Encode
from rexjax.errors import UserError, check_least
from rexjax.evaluation.settings import Evaluate
from rexjax.families.base import Model
from rexjax.families.blend import Blend
from rexjax.families.decayed import DecayedPopularity
from rexjax.families.linear import Ease, ItemKNN
from rexjax.families.popularity import Popularity, RecentPopularity
from rexjax.families.rules import SequentialRules
from rexjax.families.text import TextCosine
from rexjax.families.transformer import Transformer
from rexjax.rerank.settings import Rerank


@dataclass(frozen=True)
class Mesh:
    """Devices: axes ("data", "model")."""

    data: int = 0
    """Devices along the batch; 0 takes all that are left."""
    model: int = 1
    """Devices along heads and MLP."""

    def __post_init__(self) -> None:
        check_least(self, "mesh", 0, "data")
        check_least(self, "mesh", 1, "model")


@dataclass(frozen=True)
class Config:
    """The whole path; one file in configs/ is one experiment."""

    workdir: str
    """Where the artifacts go."""
    seed: int = 0
    """One seed: data order, initialisation, dropout and samples all follow from it."""
    data: Data = field(default_factory=Data)
    """Stage prepare."""
    encode: Encode = field(default_factory=Encode)
    """Stage encode."""
    baselines: tuple[Model, ...] = (
        Popularity(),
        RecentPopularity(),
        TextCosine(),
        ItemKNN(),
        SequentialRules(),
        Ease(),
    )
    """Simple models that stand beside the others in every table; one that does not suit the log is left out."""
    teacher: Model = Blend((Ease(), SequentialRules(), DecayedPopularity(), Transformer()))
    """Stage teacher: any model. Blend is several, whose weights are chosen on validation; the default's members go from
    cheap to dear."""
    student: Student = field(default_factory=Student)
    """Stage distill."""
    compress: Compress = field(default_factory=Compress)
    """Stage compress."""
    evaluate: Evaluate = field(default_factory=Evaluate)
    """Stage evaluate."""
    rerank: Rerank = Rerank()
    """How lists are chosen from what a model finds: MMR, DPP, XQuAD, Calibrated, Quota or ExposureCap."""
    stages: Annotated[tuple[Stage, ...], tyro.conf.Suppress] = ()
    """Further stages; the place of each follows from what it needs."""
    mesh: Mesh = field(default_factory=Mesh)
    """Devices."""
    save_every: int = 0
    """Steps of training between two saves (up to the end of a call of 16 steps), all that a kill costs; 0: a minute."""
    wandb: str = ""
    """A Weights & Biases project to log to besides TensorBoard and JSONL; needs rexjax[wandb]."""

    def __post_init__(self) -> None:
        check_least(self, "config", 0, "seed", "save_every")
        if self.evaluate.largest_weight and not self.data.source.described(self.data.columns).propensity:
            raise UserError(
                f"evaluate.largest_weight={self.evaluate.largest_weight:g} clips weights 1 / propensity, and the log "
                "has no propensities: name their column with --data.columns.propensity, or leave it out"
            )


def load(path: str | Path) -> Config:
    """Runs ``get_config()`` of the Python file ``path`` and checks every value's type.

    Raises:
        UserError: no such file, no ``get_config``, an unknown key, a value of the wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"no config file {path}: name a Python file with a function get_config(), such as those in configs/"
        )
    try:
        config = run_file(path).get_config()
    except TypeError as error:
        raise UserError(f"{path}: {error}: see `rexjax keys` for all keys") from error
    except UserError:
        raise
    except Exception as error:  # a config is a program of the user's
        raise UserError(f"{path} cannot be read as a config: {error}") from error
    if not isinstance(config, Config):
        raise UserError(f"{path}: get_config() returned {type(config).__name__}, not rexjax.config.Config")
    return normal(config)
