"""Frozen dataclasses, one per stage; a config file is a Python module with ``get_config() -> Config``.

Every key has its help text beneath it: ``rexjax STAGE CONFIG --help`` prints it, ``--stage.key value`` overrides it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from rexjax.artifacts.classes import run_file
from rexjax.compression.settings import Compress
from rexjax.config.stage import Stage
from rexjax.config.values import check
from rexjax.distillation.settings import Student
from rexjax.encoders.settings import Encode
from rexjax.errors import UserError, check_least, check_range
from rexjax.evaluation.settings import Evaluate
from rexjax.families.base import Model
from rexjax.families.popularity import Popularity
from rexjax.families.text import TextCosine
from rexjax.families.transformer import Transformer


@dataclass(frozen=True)
class Columns:
    """What the log's columns are called."""

    user: str = "user_id"
    """Who."""
    item: str = "item_id"
    """What; the same name is looked for in the items file."""
    time: str = "timestamp"
    """When: integer or float seconds (any monotonous unit will do), dates, or text that DuckDB reads as a timestamp."""
    rating: str = ""
    """Stars, where there are any; needed by --data.min-rating."""
    session: str = ""
    """Invoice or visit; needed by --data.split last_session."""
    category: str = ""
    """The items' kind, in the items file; answers can be kept to some."""


@dataclass(frozen=True)
class Shop:
    """How large the simulated shop is; everything else about it follows from the seed."""

    users: int = 3000
    """People who buy."""
    items: int = 1000
    """Articles in the catalogue; about a tenth of them are released during the period."""
    interactions: int = 60_000
    """Purchases in the log, exactly; every user has at least five where the mean allows it."""
    days: int = 365
    """Length of the period, from 2024-01-01."""

    def __post_init__(self) -> None:
        for name, least in (("users", 1), ("items", 40), ("interactions", 1), ("days", 7)):
            if getattr(self, name) < least:
                raise UserError(f"The shop has {name}={getattr(self, name)}: set {name} to {least} or more.")
        if not self.users <= self.interactions <= self.users * self.items // 2:
            raise UserError(
                f"The shop has interactions={self.interactions}: with users={self.users} and items={self.items}, "
                f"set interactions between {self.users} and {self.users * self.items // 2}."
            )


@dataclass(frozen=True)
class Data:
    """Stage 1, prepare: read, clean, split, pack."""

    source: Literal["shop", "files", "tfds"] = "shop"
    """'shop': simulated; 'files': CSV or Parquet below --data.path; 'tfds': the builder named by --data.builder."""
    path: str = ""
    """Folder of the files, or the data_dir of TFDS."""
    interactions: str = "interactions"
    """The log's file in the folder: a name, with or without its ending, or a folder of Parquet parts."""
    items: str = "items"
    """The items' file in the folder; '' when the log itself carries the text columns."""
    builder: str = ""
    """A TFDS builder, such as movielens/100k-ratings."""
    columns: Columns = field(default_factory=Columns)
    """What the columns are called."""
    text: tuple[str, ...] = ("title",)
    """Columns whose words describe an item; the first one is shown as its title. None: items are ids alone."""
    engine: str = "duckdb"
    """What cleans: duckdb; Spark, as pyspark (the master of its own configuration) or by a master's URL
    (spark://HOST:7077, yarn, k8s://…, local[4]), which needs rexjax[spark]; or another ibis backend (bigquery). The
    artifact is the same."""
    beam: str = ""
    """Options of an Apache Beam pipeline whose workers pack the histories: --data.beam="--runner=FlinkRunner …"; needs
    rexjax[beam] and a workdir that all workers see. '': this process packs them. The artifact is the same."""
    min_rating: float = 0.0
    """Interactions rated lower are dropped; 0 keeps all."""
    min_user_events: int = 5
    """k-core: users with fewer interactions are dropped, again and again until none is left."""
    min_item_events: int = 5
    """k-core: items with fewer interactions are dropped, likewise."""
    repeats: Literal["first", "keep"] = "first"
    """'first': a user's later interactions with the same item are dropped; 'keep': they stay."""
    split: Literal["leave_one_out", "global_time", "last_session", "cold_items"] = "leave_one_out"
    """What is held out of each history: its last two items; all behind two moments; its last two sessions; or some
    items altogether, drawn by the seed: a user's first one tests, and what came after it is dropped."""
    holdout: float = 0.1
    """global_time: the share of all interactions behind the last cut, and as much again before it; cold_items: the
    share of items."""
    targets: Literal["next_item", "next_time"] = "next_item"
    """What a history's items predict in training: the next one, or one drawn from those of the next later time (for
    logs whose baskets share a time)."""
    strict: bool = True
    """An item without text, or an id in only one of the two files, is an error; with --data.no-strict, interactions
    with unknown items are dropped and items without text get a zero vector, and the data card counts them."""
    length: int = 50
    """The longest history that a model sees (the latest items); also the width of a packed row."""
    shop: Shop = field(default_factory=Shop)
    """The simulated shop."""

    def __post_init__(self) -> None:
        check_range(self, "data", "a share above 0 and below 0.5", lambda value: 0 < value < 0.5, "holdout")


@dataclass(frozen=True)
class Mesh:
    """Devices: axes ("data", "model")."""

    data: int = 0
    """Devices along the batch; 0 takes all that are left."""
    model: int = 1
    """Devices along heads and MLP."""


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
    baselines: tuple[Model, ...] = (Popularity(), TextCosine())
    """Simple models that stand beside the others in every table; one that does not suit the log is left out."""
    teacher: Model = field(default_factory=Transformer)
    """Stage teacher: any model; Blend is several."""
    student: Student = field(default_factory=Student)
    """Stage distill."""
    compress: Compress = field(default_factory=Compress)
    """Stage compress."""
    evaluate: Evaluate = field(default_factory=Evaluate)
    """Stage evaluate."""
    stages: Annotated[tuple[Stage, ...], tyro.conf.Suppress] = ()
    """Further stages; the place of each follows from what it needs."""
    mesh: Mesh = field(default_factory=Mesh)
    """Devices."""
    save_every: int = 0
    """Steps of training between two saves (up to the end of a call of 16 steps), all that a kill costs; 0: a minute."""
    wandb: str = ""
    """A Weights & Biases project to log to besides TensorBoard and JSONL; needs rexjax[wandb]."""

    def __post_init__(self) -> None:
        check_least(self, "config", 0, "save_every")


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
    check(config)
    return config
