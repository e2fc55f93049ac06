"""Settings of stage prepare: the columns of a log, its source, and how it is cleaned, split and packed."""

import math
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Literal

import tyro

from rexjax.data import where as conditions
from rexjax.data.features.declared import Feature, check_names, declared
from rexjax.data.sources import Shop, Source
from rexjax.errors import UserError, check_ranges


@dataclass(frozen=True)
class Columns:
    """What the log's columns are called."""

    user: str = "user_id"
    """Who."""
    item: str = "item_id"
    """What; the same name is looked for in the items file."""
    time: str = "timestamp"
    """When: numbers (see time_unit), dates, timestamps, or text in ISO 8601 (see time_format). '', with explode alone:
    the log has none."""
    rating: str = ""
    """Stars, where there are any; needed by --data.min-rating."""
    session: str = ""
    """Invoice or visit; needed by --data.split last_session."""
    category: str = ""
    """The items' kind, in the items file; answers can be kept to some."""
    time_format: str = ""
    """What times look like where they are text of another form, as Python's strptime reads it: %d/%m/%Y %H:%M."""
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    """The unit of times that are numbers; all become seconds. auto: s, ms, us or ns, whichever puts them between 1973
    and 5138; numbers below 100 million count as seconds. The data card shows it."""
    explode: str = ""
    """What stands between the items where one row holds a user's whole list, such as ' ' or '|'; 'list' where the
    column itself is a list (Parquet, JSON lines). Without a time column, an item's place in its list is its time."""
    user_features: Annotated[tuple[Feature, ...], tyro.conf.Suppress] = ()
    """Features of users, in the users file, or else in the log: then a user's latest training row counts. A plain name
    stands for Categorical of that column."""
    user_time: str = ""
    """The column of the users file that says from when on a row's values hold; each event then reads the row strictly
    before it. '': one row a user."""
    item_features: Annotated[tuple[Feature, ...], tyro.conf.Suppress] = ()
    """Features of items, in the items file, or else in the log."""
    context: Annotated[tuple[Feature, ...], tyro.conf.Suppress] = ()
    """Features of a request, in the log: known before the item is chosen, such as the device. A column that follows
    from the item, such as its price, would tell the answer."""
    event: str = ""
    """The kind of each event, such as view, cart and purchase, in the log; known after it alone."""
    weight: str = ""
    """How much each event counts, a number in the log, such as a quantity; a missing one counts 1."""
    position: str = ""
    """Where the item stood in the list that was shown, from 0 or 1. A segment of the report."""
    propensity: str = ""
    """The probability with which an item at that position is taken, above 0 and at most 1. It corrects the test's
    metrics for what was shown. Shop() has both columns, and they are kept without being named."""

    def __post_init__(self) -> None:
        for name in ("user_features", "item_features", "context"):
            object.__setattr__(self, name, declared(getattr(self, name)))
        check_names((*self.user_features, *self.item_features, *self.context))
        if self.time_format and (problem := _format_problem(self.time_format)):
            raise UserError(f"data.columns has time_format={self.time_format!r}, which {problem}: mend it")


@dataclass(frozen=True)
class Csv:
    """How CSV files are written. What is '' or None is found in the first megabyte; the data card shows it."""

    delimiter: str = ""
    """What stands between cells: ',', a tab (\\t), ';', '|', '::' or another text of up to four signs."""
    encoding: str = ""
    """The text's encoding, as Python names it: utf-8, latin-1, cp1252, utf-16, gb18030. '': UTF-8, or what a byte order
    mark says. It holds for JSON lines too."""
    quote: str = ""
    """The sign around cells that hold a delimiter or a line break: '"' or another; 'none': there is none."""
    decimal: str = ""
    """The sign before decimals in times and ratings: '.' or ','."""
    header: bool | None = None
    """Whether the first line names the columns. None: it does, and is refused where it looks like data."""
    names: tuple[str, ...] = ()
    """The columns' names, for a file whose first line does not name them. Without, they are 1, 2, 3 and so on."""

    def __post_init__(self) -> None:
        problems = []
        delimiter = self.delimiter.replace("\\t", "\t")
        if len(delimiter) > 4 or "\n" in delimiter or (delimiter and delimiter == self.quote):
            problems.append(f"delimiter={self.delimiter!r} (up to four signs, and not the quote)")
        if self.quote != "none" and len(self.quote.encode()) > 1:
            problems.append(f"quote={self.quote!r} (one ASCII sign, or 'none')")
        if self.decimal not in ("", ".", ","):
            problems.append(f"decimal={self.decimal!r} ('.' or ',')")
        if self.encoding and not _is_encoding(self.encoding):
            problems.append(f"encoding={self.encoding!r} (one that Python knows, such as utf-8, latin-1 or utf-16)")
        if len({name.casefold() for name in self.names}) < len(self.names):
            problems.append(f"names={self.names} (each name once, in either case)")
        if problems:
            raise UserError(f"data.csv has {' and '.join(problems)}: mend it")
        object.__setattr__(self, "delimiter", delimiter)

    def of_items(self, items: "Csv") -> "Csv":
        """``items`` with what it leaves open as it is here; header and names belong to one file alone."""
        shared = ("delimiter", "encoding", "quote", "decimal")
        return replace(items, **{name: getattr(items, name) or getattr(self, name) for name in shared})


def _format_problem(form: str) -> str:
    """Why ``strptime`` would not read a format, or would read another moment than is meant; "": it does."""
    try:
        datetime.strptime("", form)
    except re.error:
        return "names one part twice"
    except ValueError as error:
        if "does not match" not in str(error):
            return f"strptime does not know ({error})"
    signs = set(re.findall(r"%(.)", form))
    if not signs & set("YyGcx"):
        return "has no year (%Y or %y)"
    if signs & set("UWV") and not signs & set("aAuw"):
        return "has a week without its day (%u, %w or %a)"
    if ("I" in signs) != ("p" in signs):
        return "has only one of %I (hours to 12) and %p (AM or PM)"
    return ""


def _is_encoding(name: str) -> bool:
    try:
        "".encode(name)
    except (LookupError, UnicodeError):  # also where Python knows it and it is no text's, such as base64
        return False
    return True


@dataclass(frozen=True)
class Data:
    """Stage 1, prepare: read, clean, split, pack."""

    source: Source = field(default_factory=Shop)
    """Where the log comes from: Shop(), simulated; Files(), CSV or Parquet in the folder --data.path; Tfds("BUILDER");
    Frames(), what Dataset.write left; or another subclass of Source. The config file says which."""
    path: str = ""
    """Folder of Files(), or the data_dir of Tfds()."""
    interactions: str = "interactions"
    """The log in the folder: a file's name, with or without its ending; several files, as interactions-*.csv; or a
    folder of parts, Hive partitions included."""
    items: str = "items"
    """The items in the folder, likewise; '' when the log itself carries the text columns."""
    csv: Csv = field(default_factory=Csv)
    """How the CSV file of the log is written."""
    items_csv: Csv = field(default_factory=Csv)
    """How the CSV file of the items is written; encoding, delimiter, quote and decimal are those of data.csv where left
    open."""
    users: str = ""
    """The users in the folder, likewise, with the log's column of user ids; '': there is no such file."""
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
    where: str = ""
    """Rows of the log that are read: comparisons joined by and, such as "quantity > 0 and country = 'France'"; the
    operators are = != < <= > >=, and a column with blanks stands in double quotes. A missing number differs from all
    others, and is neither more nor less; missing text is ''. '': all rows."""
    min_rating: float = 0.0
    """Interactions rated lower are dropped, and those without a rating; 0 keeps all."""
    min_user_events: int = 5
    """k-core: users with fewer interactions are dropped, again and again until none is left. Under global_time only
    events before the first cut count, else all events."""
    min_item_events: int = 5
    """k-core: interactions of items with fewer are dropped, likewise; see --data.catalogue for the items."""
    catalogue: Literal["all", "log"] = "all"
    """Items that can be recommended. 'all': those of the clean log, and all others that have text, known by it alone;
    'log': those of the clean log."""
    repeats: Literal["first", "keep"] = "first"
    """'first': a user's later interactions with the same item are dropped; 'keep': they stay."""
    split: Literal["leave_one_out", "second_to_last", "global_time", "last_session", "cold_items"] = "leave_one_out"
    """What is held out of each history: its last two items; the same of the log without each user's last event, so that
    settings are chosen on a test like leave_one_out's, which nobody has looked at then; all behind two moments; its
    last two sessions; or some items altogether, drawn by the seed: a user's first one tests, and what came after it is
    dropped."""
    holdout: float = 0.1
    """global_time: the share of all interactions, before the k-core, behind the last cut, and as much again before it;
    cold_items: the share of items with interactions."""
    targets: Literal["next_item", "next_time"] = "next_item"
    """What a history's items predict in training: the next one, or one drawn from those of the next later time (for
    logs whose baskets share a time)."""
    strict: bool = True
    """An item without text, an item id with several rows in the items file, or one in only one of the two files (never
    sold items are no error with --data.catalogue all) is an error; with --data.no-strict, interactions with unknown
    items are dropped, the last of several rows counts, items without text get a zero vector, and the data card counts
    them."""
    user_ids: bool = True
    """Keeps the raw user ids in users.parquet, by which `rexjax recommend` names users; --data.no-user-ids leaves these
    personal data out."""
    length: int = 50
    """The longest history that a model sees (the latest items); also the width of a packed row."""

    def __post_init__(self) -> None:
        conditions.parse(self.where)
        events = ("0 or more", _at_least_0)
        check_ranges(
            self,
            "data",
            {
                "min_rating": ("a finite number", math.isfinite),
                "min_user_events": events,
                "min_item_events": events,
                "holdout": ("a share above 0 and below 0.5", _is_holdout),
                "length": ("1 or more", _at_least_1),
            },
        )


def _at_least_0(value: float) -> bool:
    return value >= 0


def _at_least_1(value: float) -> bool:
    return value >= 1


def _is_holdout(value: float) -> bool:
    return 0 < value < 0.5
