"""Cleaning, as ibis expressions: missing values, repeats, ratings, k-core, dense ids.

The same expressions run on DuckDB here and on Spark or BigQuery elsewhere. Every step is counted for the data card.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rexjax.data import ids, lists, quantiles, shown, times, where
from rexjax.data.agreement import known_items, repeated_ids
from rexjax.data.core import k_core
from rexjax.data.engines import count, fetch, numbered
from rexjax.data.features.tables import ColumnsRead, columns_read
from rexjax.data.numbers import missing, with_numbers
from rexjax.data.settings import Columns, Data
from rexjax.data.steps import Steps, materialise
from rexjax.data.time_facts import spell_time
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    from ibis import _
    from ibis.expr.types import Column, Table


_FEATURES = "the features of data.columns"


class Clean(NamedTuple):
    """A clean log with dense ids, and its items."""

    log: Table
    """Columns user int64, item int64, time, session and, where the log has them, shown_at and propensity (float64), in
    the order (user, time, original position)."""
    items: Table
    """Columns item int64 (dense), item_id (raw), row (line of the items file), title, text, in the order of item; and
    category, where --data.columns.category names one. Items never sold are among them with --data.catalogue all."""
    users: Table
    """Columns user int64 (dense), user_id (raw)."""
    steps: list[dict[str, Any]]
    """What each cleaning step removed and left."""
    times: Table
    """Column time of the same events, in no order, as the engine has stored it."""
    unused: int
    """Items of the catalogue without any interaction in the log as it was read."""
    repeated: int
    """Items with more than one row in the items file, of which the last one counts."""
    cuts: tuple[float, ...]
    """global_time: the two moments; else none."""
    time_form: str
    """What times of the log are written in: a unit (s, ms, us, ns), a format, or a type."""
    event_columns: Table
    """Columns user, item and the raw columns that features read (``ColumnsRead.short``), of the same events in the same
    order as ``log``."""
    item_columns: Table
    """Columns item and the raw columns that features read, in the order of item."""


def clean(log: Table, items: Table | None, data: Data, *, users: bool = False) -> Clean:
    """Applies all cleaning steps in order; each is materialised once in the engine.

    Args:
        log: a row per interaction.
        items: a row per item; None where the log carries what is known of them.
        data: the settings of stage prepare.
        users: whether a table of users has their features; else the log has them.

    Raises:
        UserError: a column is missing or holds what it must not, the two files disagree, or nothing is left.
    """
    columns, steps = data.columns, Steps()
    read = columns_read(columns, items=items is not None, users=users)
    with reading("log"):
        log = _named(log, columns, data, read, own_text=items is None)
        log = steps.take("read", log, "check --data.path and --data.interactions")
    log = _kept_rows(steps, log, data)
    with reading("log"):
        log, time_form = times.with_seconds(log, columns)
    with reading("items file"):
        known = _own_catalogue(log, data, read) if items is None else catalogue(items, data, read)
        known = materialise("catalogue", known)
    named = known.select(id="item") if items is None else known.select(id="item").union(log.select(id="item"))
    item_ids = _known_ids("item_ids", named, [_.id.hexdigest("md5"), _.id], columns.item)
    user_ids = _known_ids("user_ids", log.select(id="user"), [_.id.length(), _.id], columns.user)
    log = steps.take("missing user, item or time", _coded(log, user_ids, item_ids), "check --data.columns and the file")
    if data.split == "last_session":
        _check_sessions(log, columns)
    log = shown.with_shown(log, columns)
    known = materialise("known_items", known.join(item_ids.rename(item="id"), "item"))
    unused = count(known.anti_join(log, known.code == log.item))
    repeated = None if items is None else repeated_ids(items, data)
    log = known_items(steps, log, known, item_ids, repeated, data)
    if data.min_rating:
        log = _well_rated(steps, log, data)
    log = steps.take("repeated interactions", _without_repeats(log, data.repeats), "see --data.repeats")
    cuts = _cuts(log, data)
    log = k_core(steps, log, data, cuts[0] if cuts else None)
    dense_log, dense_items, dense_users = _with_dense_ids(log, known, user_ids, data, read)
    of_events, of_items = read.short(read.log), read.short(read.of_items)
    return Clean(
        dense_log.drop(*of_events),
        dense_items.drop(*of_items),
        dense_users,
        steps=steps.rows(),
        times=log.select("time"),
        unused=unused,
        repeated=0 if repeated is None else count(repeated),
        cuts=cuts,
        time_form=time_form,
        event_columns=dense_log.select("user", "item", *of_events),
        item_columns=dense_items.select("item", *of_items),
    )


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """An engine reads as late as it can, and each has its own kinds of failure."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()[:60])
        raise UserError(f"the {what} cannot be read to its end ({reason}): mend that row or column") from error


def _named(log: Table, columns: Columns, data: Data, read: ColumnsRead, *, own_text: bool) -> Table:
    wanted = {"user": columns.user, "item": columns.item, "raw_time": columns.time} | shown.names_of(columns)
    if data.min_rating:
        wanted["rating"] = columns.rating
    if data.split == "last_session":
        wanted["session"] = columns.session
    if own_text and columns.category:
        wanted["category"] = columns.category
    if columns.explode and not columns.time:
        del wanted["raw_time"]
    if not wanted.get("raw_time", "there"):
        raise UserError(
            "the log needs a time: name its column with --data.columns.time, or pass --data.columns.explode"
        )
    keys = {"raw_time": "time", shown.POSITION: "position"}
    flags = {name: f"--data.columns.{keys.get(key, key)}" for key, name in wanted.items()}
    flags = dict.fromkeys(read.log, _FEATURES) | flags
    _refuse_lacking("the log", log, flags, "--data.csv.delimiter")
    if columns.explode:
        log = lists.explode(log, columns)
        wanted["raw_time"] = columns.time or lists.PLACE
    named = {key: log[name] for key, name in wanted.items()}
    named |= {key: ids.to_text(log, wanted[key], "log") for key in ("user", "item")}
    if own_text:
        lacking = [name for name in data.text if name not in log.columns]
        if lacking:
            raise UserError(
                f"there is no items file, and the log has no text column {', '.join(map(repr, lacking))} "
                f"(it has {', '.join(log.columns)}): see --data.items and --data.text"
            )
        named |= {f"text_{i}": log[name] for i, name in enumerate(data.text)}
    if "session" not in named:
        named["session"] = ibis.literal(0)
    named |= where.columns_of(log, data.where)
    named |= {short: log[name] for short, name in read.short(read.log).items()}
    if columns.explode:
        return log.select(**named, position=log[lists.POSITION])
    return numbered(log.select(**named), "position")


def _refuse_lacking(what: str, table: Table, wanted: dict[str, str], delimiter: str) -> None:
    """Refuses a table without all ``wanted`` columns, which have the flags that name them."""
    lacking = {name: flag for name, flag in wanted.items() if name not in table.columns}
    if lacking:
        names = f"column{'s'[: len(lacking) > 1]} {', '.join(map(repr, lacking))}"
        flags = ", ".join(dict.fromkeys(lacking.values()))
        alone = f", and {delimiter} for what stands between cells" if len(table.columns) == 1 else ""
        raise UserError(f"{what} has no {names} (it has {', '.join(table.columns)}): see {flags}{alone}")


def catalogue(items: Table, data: Data, read: ColumnsRead | None = None) -> Table:
    """One row per raw item: item, row (where it was), title, text and, if asked for, category ('' where there is none)
    and the raw columns that features read.

    Raises:
        UserError: a column is missing.
    """
    columns = data.columns
    named = {columns.item: "--data.columns.item"} | dict.fromkeys(data.text, "--data.text")
    if columns.category:
        named[columns.category] = "--data.columns.category"
    of_features = read.short(read.items) if read else {}
    named = dict.fromkeys(of_features.values(), _FEATURES) | named
    _refuse_lacking(data.items, items, named, "--data.items-csv.delimiter")
    more = {short: items[name] for short, name in of_features.items()}
    if columns.category:
        more["category"] = _words(items[columns.category])
    item = ids.to_text(items, columns.item, "items file")
    return _catalogue(items, None, item, [items[name] for name in data.text], more)


def _own_catalogue(log: Table, data: Data, read: ColumnsRead) -> Table:
    """The same from a log that carries the text, or none."""
    more = {short: log[short] for short in read.short(read.of_items)}
    if data.columns.category:
        more["category"] = _words(log.category)
    if not data.text and not more:
        named = log.filter(_.item.notnull()).group_by("item").agg(row=_.position.max())
        return named.mutate(title=_.item, text=ibis.literal(""))
    return _catalogue(log, log.position, log.item, [log[f"text_{i}"] for i in range(len(data.text))], more)


def _catalogue(table: Table, row: Column | None, item: Column, parts: list[Column], more: dict[str, Column]) -> Table:
    parts = [_words(part) for part in parts]
    text = ibis.literal("")
    for part in parts:
        text = ibis.cases((text == "", part), (part == "", text), else_=text + ibis.literal(". ") + part)
    title = parts[0] if parts else item
    said = {"title": title, "text": text} | more
    if row is None:
        rows = numbered(table.select(item=item, **said), "row")
        latest = [ibis.desc("row")]
    else:
        rows = table.select("time", row=row, item=item, **said)
        latest = [_.text == "", ibis.desc(ibis.coalesce(_.time, -np.inf)), ibis.desc("row")]
    rows = rows.filter(rows.item.notnull())
    newest = ibis.row_number().over(ibis.window(group_by="item", order_by=latest))
    return rows.mutate(nth=newest).filter(_.nth == 0).select("item", "row", *said)


def _words(column: Column) -> Column:
    """Stripped text, '' where there is none."""
    return ibis.ifelse(missing(column), "", column.cast("string").strip())


def _kept_rows(steps: Steps, log: Table, data: Data) -> Table:
    """Those that --data.where keeps."""
    conditions = where.parse(data.where)
    if not conditions:
        return log
    for number, condition in enumerate(conditions):
        if not isinstance(condition.value, str):
            log = with_numbers(log, f"where_{number}", condition.column)
    names = [f"where_{number}" for number in range(len(conditions))]
    kept = log.filter(where.holds(log, conditions)).drop(*names)
    return steps.take(f"not {data.where}", kept, f"check --data.where {data.where!r}")


def _check_sessions(log: Table, columns: Columns) -> None:
    absent = log.filter(missing(log.session))
    rows = fetch(absent.select("position").order_by("position").limit(1)).to_pylist()
    if rows:
        raise UserError(
            f"column {columns.session!r} of the log holds no session in row {rows[0]['position'] + 1} ({count(absent)} "
            "rows have none): give each event its session, or choose another --data.split"
        )


def _well_rated(steps: Steps, log: Table, data: Data) -> Table:
    log = with_numbers(log, "rating", data.columns.rating)
    log = steps.take("missing rating", log.filter(log.rating.notnull()), "check --data.columns.rating and the file")
    least = f"{data.min_rating:g}"
    return steps.take(f"rating below {least}", log.filter(_.rating >= data.min_rating), "lower --data.min-rating")


def _without_repeats(log: Table, repeats: str) -> Table:
    by = ["user", "item"] if repeats == "first" else ["user", "item", "time"]
    window = ibis.window(group_by=by, order_by=["time", "position"])
    return log.mutate(nth=ibis.row_number().over(window)).filter(_.nth == 0).drop("nth")


def _cuts(log: Table, data: Data) -> tuple[float, ...]:
    """The two moments of global_time, from all events that are left before the k-core."""
    if data.split != "global_time":
        return ()
    cuts = quantiles.at_shares(log, (1 - 2 * data.holdout, 1 - data.holdout))
    if not count(log.filter(_.time < cuts[0]).limit(1)):
        tied = count(log.filter(_.time == cuts[0])) / count(log)
        raise UserError(
            f"--data.split global_time finds no event before its first cut, as {tied:.0%} of the events have the same "
            f"time ({spell_time(cuts[0])}): name another --data.columns.time, or choose --data.split leave_one_out or "
            "last_session"
        )
    return tuple(cuts)


def _known_ids(name: str, raw: Table, order: list[Any], column: str) -> Table:
    """The ids of the column ``id``, stored under ``name``, with a column ``code``, int64, that counts them in an order.

    Cleaning goes on with the codes, which are read and compared faster than text.
    """
    code = ibis.row_number().over(ibis.window(order_by=order)).cast("int64")
    known = materialise(name, ids.distinct(raw).mutate(code=code))
    ids.refuse_look_alikes(known.select("id"), column)
    return known


def _coded(log: Table, user_ids: Table, item_ids: Table) -> Table:
    """The rows that have a user, an item and a time, with the codes of the first two."""
    present = log.filter(_.user.notnull(), _.item.notnull(), _.time.notnull()).drop("raw_time")
    present = present.join(user_ids.select(user="id", user_code="code"), "user")
    present = present.join(item_ids.select(item="id", item_code="code"), "item")
    return present.drop("user", "item").rename(user="user_code", item="item_code")


def _with_dense_ids(
    log: Table, catalogue: Table, users: Table, data: Data, read: ColumnsRead
) -> tuple[Table, Table, Table]:
    """Log, items and users with dense ids from 0: users by raw id, items by the MD5 of theirs, which tells nothing.

    Shorter ids of users come first, so that whole numbers are in the order of their size.
    Published logs number items by first occurrence; a model or a tie broken by id would read the future from that.
    """
    kept = catalogue.semi_join(log, catalogue.code == log.item)
    if data.catalogue == "all":
        unsold = catalogue.anti_join(log, catalogue.code == log.item)
        kept = kept.union(unsold.filter(_.text != ""))
    dense = ibis.row_number().over(ibis.window(order_by="code"))
    kept = materialise("items", kept.mutate(dense=dense))
    users = materialise("users", users.semi_join(log, users.code == log.user).mutate(dense=dense))
    log = log.join(kept.select(item="code", dense_item="dense"), "item")
    log = log.join(users.select(user="code", dense_user="dense"), "user")
    beside = ["time", "session", *shown.kept(log), *read.short(read.log)]
    ordered = log.select("position", *beside, user="dense_user", item="dense_item")
    more = [*(["category"] if "category" in kept.columns else []), *read.short(read.of_items)]
    return (
        ordered.order_by("user", "time", "position").select("user", "item", *beside),
        # Spark stores row numbers as int32
        kept.select("row", "title", "text", *more, item=kept.dense.cast("int64"), item_id="item").order_by("item"),
        users.select(user=users.dense.cast("int64"), user_id="id").order_by("user"),
    )
