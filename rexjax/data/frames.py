"""Data frames as a source: pandas, polars and Arrow tables, taken as they are and written as Parquet.

Neither pandas nor polars is imported here: a frame hands over its columns by the Arrow PyCapsule interface or, if it is
older than that, by the data frame interchange protocol (``__dataframe__``).
"""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.interchange
import pyarrow.parquet as pq

from rexjax.artifacts.files import file_hash
from rexjax.data import times
from rexjax.data.features.declared import Feature, declared
from rexjax.data.features.tables import columns_read
from rexjax.data.settings import Columns, Data
from rexjax.data.sources import Frames
from rexjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A log and, perhaps, its items and users, as Arrow tables with the settings that describe them."""

    log: pa.Table
    """A row per interaction: the columns that ``columns`` names and, without ``items``, the text."""
    items: pa.Table | None
    """A row per item: its id, its text and, where ``columns`` names one, its category."""
    columns: Columns
    """What the columns are called."""
    text: tuple[str, ...]
    """Columns whose words describe an item."""
    frame: str = "pandas"
    """Kind of frame that the log was: "pandas", "polars" or "arrow"."""
    users: pa.Table | None = None
    """A row per user, or per change of a user: its id and its features."""

    @classmethod
    def from_frames(
        cls,
        log: Any,
        items: Any = None,
        *,
        user: str = "user_id",
        item: str = "item_id",
        time: str = "timestamp",
        text: Sequence[str] | None = None,
        category: str = "",
        rating: str = "",
        session: str = "",
        position: str = "",
        propensity: str = "",
        time_format: str = "",
        time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto",
        explode: str = "",
        users: Any = None,
        user_features: Sequence[Feature | str] = (),
        user_time: str = "",
        item_features: Sequence[Feature | str] = (),
        context: Sequence[Feature | str] = (),
        event: str = "",
        weight: str = "",
    ) -> "Dataset":
        """Takes data frames of pandas, polars, Arrow or any other library that speaks one of Arrow's protocols.

        Args:
            log: a row per interaction. A null or NaN is a missing value: stage prepare drops and counts it. An index of
                pandas is no column (see ``reset_index``).
            items: a row per item; None where there is none, or where the log carries the text.
            user: the log's column of user ids, which become text (see ``rexjax.data.ids.to_text``).
            item: the column of item ids, in both frames.
            time: the log's column of times: datetimes (UTC where they name no zone), dates, numbers that grow with
                time, or text in ISO 8601.
            text: columns whose words describe an item, of ``items`` or else of the log; the first one is shown as its
                title. None: ("title",) with ``items``, no text without.
            category: column of the items' kind, of ``items`` or else of the log; "": there is none.
            rating: the log's column of ratings; "": there is none.
            session: the log's column of sessions; "": there is none.
            position: the log's column of positions in the list that was shown; "": there is none.
            propensity: the log's column of the probabilities with which these positions are taken; "": there is none.
            time_format: what ``time`` looks like where it is text of another form, as ``datetime.strptime`` reads it,
                such as "%d.%m.%Y %H:%M".
            time_unit: the unit of times that are numbers; "auto": see ``rexjax.config.Columns``.
            explode: what stands between the items of a row that holds a user's whole list; "list" for lists.
            users: a row per user, with the column ``user``; None where there is none, or where the log carries the
                users' features.
            user_features: features of users: plain names of columns, or ``Categorical``, ``Numeric``, ``Bag`` and
                ``Cross`` of ``rexjax.data.features``.
            user_time: the column of ``users`` that says from when on a row holds; "": one row a user.
            item_features: features of items, of ``items`` or else of the log.
            context: features of a request, of the log; see ``rexjax.config.Columns``, likewise for the others.
            event: the log's column of the events' kinds; "": there is none.
            weight: the log's column of the events' weights; "": there is none.

        Returns:
            The dataset, with the named columns alone.

        Raises:
            UserError: a frame is of no such kind, lacks columns (all of them are named), or a time is not of
                ``time_format``.
        """
        columns = Columns(
            user,
            item,
            time,
            rating,
            session,
            category,
            time_unit=time_unit,
            explode=explode,
            user_features=declared(user_features),
            user_time=user_time,
            item_features=declared(item_features),
            context=declared(context),
            event=event,
            weight=weight,
            position=position,
            propensity=propensity,
        )
        words = _names(text, ("title",) if items is not None else ())
        about_items, about_events = [*words, category], [user, item, time, rating, session, position, propensity]
        read = columns_read(columns, items=items is not None, users=users is not None)
        about_events += read.log
        wanted = {"log": about_events} if items is not None else {"log": [*about_events, *about_items]}
        tables = {"log": _to_arrow(log, "log")}
        if items is not None:
            wanted["items"] = [item, *about_items, *read.items]
            tables["items"] = _to_arrow(items, "items")
        if users is not None:
            wanted["users"] = [user, user_time, *read.users]
            tables["users"] = _to_arrow(users, "users")
        named = _select(tables, wanted)
        if time_format:
            named["log"] = _parse_times(named["log"], time, time_format)
        return cls(named["log"], named.get("items"), columns, words, kind_of(log), named.get("users"))

    def data(self, **settings: Any) -> Data:
        """The settings of stage prepare that describe these frames, which lie nowhere yet (see ``write``).

        Args:
            **settings: keys of ``rexjax.config.Data``, such as ``split="global_time"``.
        """
        described = {"source": Frames(), "items": "items" if self.items is not None else "", "columns": self.columns}
        return Data(**(described | {"text": self.text} | settings))

    def write(self, folder: str | Path, **settings: Any) -> Data:
        """Writes the frames as Parquet into ``folder``; file names follow the content, so that none is overwritten.

        Args:
            folder: created if it is not there.
            **settings: keys of ``rexjax.config.Data``, such as ``split="global_time"``.

        Returns:
            The settings of stage prepare that read them.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        items = "" if self.items is None else _write(self.items, folder, "items")
        users = "" if self.users is None else _write(self.users, folder, "users")
        source = Frames(str(folder), _write(self.log, folder, "log"), items, users)
        return self.data(**({"source": source} | settings))


def _names(text: Sequence[str] | None, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(text, str):
        raise UserError(f"text={text!r} is one string: name the columns as a tuple, ({text!r},)")
    return otherwise if text is None else tuple(text)


def _to_arrow(frame: Any, what: str) -> pa.Table:
    try:
        if isinstance(frame, pa.Table):
            return frame
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
        if hasattr(frame, "__dataframe__"):
            return pyarrow.interchange.from_dataframe(frame)
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:  # of Arrow, and of the frame's library
        reason = " ".join(str(error).split()[:60])
        raise UserError(
            f"the frame of the {what} cannot be read as an Arrow table ({reason}): mend that column"
        ) from error
    raise UserError(f"the {what} is a {type(frame).__name__}: pass a data frame of pandas or polars, or an Arrow table")


def _select(tables: dict[str, pa.Table], wanted: dict[str, list[str]]) -> dict[str, pa.Table]:
    """The wanted columns of each table ("" stands for none), without what their library notes about them."""
    kept, lacking = {}, []
    for what, table in tables.items():
        names = list(dict.fromkeys(filter(None, wanted[what])))
        if missing := [name for name in names if name not in table.column_names]:
            there = ", ".join(map(repr, table.column_names))
            lacking.append(f"the frame of the {what} has no column {', '.join(map(repr, missing))} (it has {there})")
        else:
            kept[what] = table.select(names).replace_schema_metadata(None)
    if lacking:
        said = "user=, item=, time=, text=, category=, rating=, session=, position=, propensity= or the features"
        raise UserError(f"{'; '.join(lacking)}: say what they are called with {said}")
    return kept


def _parse_times(log: pa.Table, name: str, time_format: str) -> pa.Table:
    """``log`` with the times as timestamps in UTC, to the microsecond; each distinct text is parsed once."""
    kind = log[name].type.value_type if pa.types.is_dictionary(log[name].type) else log[name].type
    if kind not in (pa.string(), pa.large_string(), pa.string_view()):
        raise UserError(f"time_format={time_format!r} reads text, and column {name!r} is {kind}: leave time_format out")
    texts = log[name].cast(pa.large_string()).combine_chunks().dictionary_encode()
    moments = pa.array([_moment(text, name, time_format) for text in texts.dictionary.to_pylist()], pa.timestamp("us"))
    return log.set_column(log.column_names.index(name), name, moments.take(texts.indices))


def _moment(text: str, name: str, time_format: str) -> datetime:
    try:
        return times.parse(text, time_format).replace(tzinfo=None)
    except ValueError as error:
        raise UserError(
            f"column {name!r} of the log holds {text!r}, which is not of time_format={time_format!r}"
        ) from error


def _write(table: pa.Table, folder: Path, kind: str) -> str:
    """The name of ``table``'s file in ``folder``, which is there as a whole or not at all."""
    unfinished = folder / f".{kind}.parquet.unfinished"
    pq.write_table(table.combine_chunks(), unfinished)
    name = f"{kind}-{file_hash(unfinished)[:16]}.parquet"
    unfinished.rename(folder / name)
    return name


def kind_of(frame: Any) -> str:
    """ "pandas", "polars" or, for all else, "arrow"."""
    package = type(frame).__module__.partition(".")[0]
    return package if package in ("pandas", "polars") else "arrow"


def to_frame(table: pa.Table, kind: str) -> Any:
    """An Arrow table as a frame of that kind.

    Raises:
        UserError: there is no such kind, or its package is not installed.
    """
    if kind == "arrow":
        return table
    try:
        if kind == "pandas":
            return table.to_pandas()
        if kind == "polars":
            import polars

            return polars.from_arrow(table)
    except ImportError as error:
        raise UserError(f"frame={kind!r} needs the package {kind}: pip install {kind}, or ask for 'arrow'") from error
    raise UserError(f"frame={kind!r} is no kind of frame: choose 'pandas', 'polars' or 'arrow'")
