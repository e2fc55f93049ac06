"""Settings of stage prepare: the columns of a log, its source, and how it is cleaned, split and packed."""

from dataclasses import dataclass, field
from typing import Literal

from rexjax.data.sources import Shop, Source
from rexjax.errors import check_range


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
class Data:
    """Stage 1, prepare: read, clean, split, pack."""

    source: Source = field(default_factory=Shop)
    """Where the log comes from: Shop(), simulated; Files(), CSV or Parquet in the folder --data.path; Tfds("BUILDER");
    Frames(), what Dataset.write left; or another subclass of Source. The config file says which."""
    path: str = ""
    """Folder of Files(), or the data_dir of Tfds()."""
    interactions: str = "interactions"
    """The log's file in the folder: a name, with or without its ending, or a folder of Parquet parts."""
    items: str = "items"
    """The items' file in the folder; '' when the log itself carries the text columns."""
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

    def __post_init__(self) -> None:
        check_range(self, "data", "a share above 0 and below 0.5", lambda value: 0 < value < 0.5, "holdout")
