"""Cleaning, as ibis expressions: missing values, repeats, ratings, k-core, dense ids.

The same expressions run on DuckDB here and on Spark or BigQuery elsewhere. Every step is counted for the data card.
"""

from typing import Any, NamedTuple

import ibis
import ibis.expr.datatypes as dt
from ibis import _
from ibis.expr.types import Column, Table

from rexjax.config import Columns, Data
from rexjax.errors import UserError


class Clean(NamedTuple):
    """A clean log with dense ids, and its items."""

    log: Table
    """Columns user int64, item int64, time, session, in the order (user, time, original position)."""
    items: Table
    """Columns item int64 (dense), item_id (raw), row (line of the items file), title, text, in the order of item."""
    users: Table
    """Columns user int64 (dense), user_id (raw)."""
    steps: list[dict[str, Any]]
    """What each cleaning step removed and left."""


def clean(log: Table, items: Table | None, data: Data) -> Clean:
    """Applies all cleaning steps in order; each is materialised once in the engine."""
    columns = data.columns
    steps: list[dict[str, Any]] = []
    log = _count(steps, "read", _named(log, columns, data))
    where = "the log" if items is None else data.items
    catalogue = _materialise("catalogue", _texts(log if items is None else items, columns, data, where))
    if steps[0]["interactions"] == 0:
        raise UserError("the log is empty: nothing to learn from; check --data.path and --data.interactions")
    _check_times(log, columns)
    log = _count(steps, "missing user, item or time", log.filter(_.user.notnull(), _.item.notnull(), _.time.notnull()))
    log = _count(steps, "item without a row in the items file", _known_items(log, catalogue, data))
    if data.min_rating:
        log = _count(steps, f"rating below {data.min_rating:g}", log.filter(_.rating >= data.min_rating))
    log = _count(steps, "repeated interactions", _without_repeats(log, data.repeats))
    log = _k_core(steps, log, data)
    return _with_dense_ids(log, catalogue, steps)


def _named(log: Table, columns: Columns, data: Data) -> Table:
    wanted = {"user": columns.user, "item": columns.item, "time": columns.time}
    if data.min_rating:
        wanted["rating"] = columns.rating
    if data.split == "last_session":
        wanted["session"] = columns.session
    for key, name in wanted.items():
        if name not in log.columns:
            raise UserError(
                f"the log has no column {name!r} (it has {', '.join(log.columns)}): say which one it is with "
                f"--data.columns.{key}"
            )
    named = {key: log[name] for key, name in wanted.items()}
    named["raw_time"], named["time"] = named["time"], _seconds(named["time"])
    # a log may carry the items' text itself
    named |= {f"text_{i}": log[name] for i, name in enumerate(data.text) if name in log.columns and not data.items}
    if "session" not in named:
        named["session"] = ibis.literal(0)
    return log.select(position=ibis.row_number(), **named)


def _seconds(column: Column) -> Column:
    kind = column.type()
    if isinstance(kind, dt.Integer | dt.Floating | dt.Decimal):
        return column.cast("float64")
    if isinstance(kind, dt.String):
        return ibis.coalesce(column.try_cast("float64"), column.try_cast("timestamp").epoch_seconds().cast("float64"))
    return column.cast("timestamp").epoch_seconds().cast("float64")


def _check_times(log: Table, columns: Columns) -> None:
    broken = log.filter(_.raw_time.notnull(), _.time.isnull() | (_.time.isnan()))
    rows = broken.select("position", raw=_.raw_time.cast("string")).limit(1).to_pyarrow().to_pylist()
    if rows:
        raise UserError(
            f"column {columns.time!r} of the log holds {rows[0]['raw']!r} in row {rows[0]['position'] + 1}, which is "
            "no time: write seconds since 1970 or ISO 8601, such as 2026-01-31 12:00:00"
        )


def _texts(table: Table, columns: Columns, data: Data, where: str) -> Table:
    """One row per raw item: item, row (where it was), title, text ('' where there is none)."""
    if data.items:
        missing = [name for name in (columns.item, *data.text) if name not in table.columns]
        if missing:
            raise UserError(
                f"{where} has no column {missing[0]!r} (it has {', '.join(table.columns)}): see --data.text"
            )
        parts = [table[name].cast("string").fill_null("").strip() for name in data.text]
        item = table[columns.item]
    else:
        parts = [
            table[f"text_{i}"].cast("string").fill_null("").strip()
            for i in range(len(data.text))
            if f"text_{i}" in table.columns
        ]
        item = table.item
    if not parts:
        raise UserError(f"neither an items file nor text columns {data.text} in the log: see --data.items, --data.text")
    text = parts[0]
    for part in parts[1:]:
        text = ibis.cases((text == "", part), (part == "", text), else_=text + ibis.literal(". ") + part)
    rows = table.select(row=ibis.row_number(), item=item, title=parts[0], text=text).filter(_.item.notnull())
    return rows.group_by("item").agg(row=_.row.min(), title=_.title.max(), text=_.text.max())


def _known_items(log: Table, catalogue: Table, data: Data) -> Table:
    unknown = log.anti_join(catalogue, "item")
    unused = catalogue.anti_join(log, "item")
    if data.strict:
        _refuse(unknown.select("item").distinct(), "in the log only, without a row in the items file")
        _refuse(unused, "in the items file only, without any interaction")
        _refuse(catalogue.filter(_.text == ""), "without text")
    return log.semi_join(catalogue, "item")


def _refuse(items: Table, what: str) -> None:
    count = items.count().execute()
    if count:
        example = items.limit(1).to_pyarrow()["item"][0].as_py()
        raise UserError(f"{count} items are {what} (such as {example!r}): mend the files, or pass --data.no-strict")


def _without_repeats(log: Table, repeats: str) -> Table:
    by = ["user", "item"] if repeats == "first" else ["user", "item", "time"]
    window = ibis.window(group_by=by, order_by=["time", "position"])
    return log.mutate(nth=ibis.row_number().over(window)).filter(_.nth == 0).drop("nth")


def _k_core(steps: list[dict[str, Any]], log: Table, data: Data) -> Table:
    """Drops rare users and items until none is left (a fixed point, as k-core is defined)."""
    for round_ in range(1000):
        before = steps[-1]["interactions"]
        log = _at_least(_at_least(log, "user", data.min_user_events), "item", data.min_item_events)
        log = _count(steps, f"{data.min_user_events}/{data.min_item_events}-core, round {round_ + 1}", log)
        if steps[-1]["interactions"] == 0:
            raise UserError(
                "cleaning removed every interaction: lower --data.min-user-events, --data.min-item-events or "
                f"--data.min-rating (read: {steps[0]['interactions']} interactions)"
            )
        if steps[-1]["interactions"] == before:
            steps.pop()
            break
    return log


def _at_least(log: Table, column: str, events: int) -> Table:
    if events <= 1:
        return log
    kept = log.group_by(column).agg(events=_.count()).filter(_.events >= events)
    return log.semi_join(kept, column)


def _materialise(name: str, table: Table) -> Table:
    return table.get_backend().create_table(name, table, overwrite=True)


def _count(steps: list[dict[str, Any]], step: str, log: Table) -> Table:
    last = log.get_backend().list_tables(like="^clean_")
    log = _materialise(f"clean_{len(steps)}_{len(last)}", log)
    for name in last:  # one copy of the log at a time
        log.get_backend().drop_table(name)
    row = log.agg(interactions=_.count(), users=_.user.nunique(), items=_.item.nunique()).to_pyarrow().to_pylist()[0]
    removed = steps[-1]["interactions"] - row["interactions"] if steps else 0
    steps.append({"step": step, "removed": removed, **row})
    return log


def _with_dense_ids(log: Table, catalogue: Table, steps: list[dict[str, Any]]) -> Clean:
    """Dense ids from 0: users by their raw id, items by the MD5 of theirs, so that an id says nothing about its item.

    Published logs number items by first occurrence; a model or a tie broken by id would read the future from that.
    """
    by_hash = [_.item.cast("string").hexdigest("md5"), _.item]
    kept = catalogue.semi_join(log, "item").mutate(dense=ibis.row_number().over(ibis.window(order_by=by_hash)))
    kept = _materialise("items", kept)
    users = log.select("user").distinct().mutate(dense=ibis.row_number().over(ibis.window(order_by="user")))
    users = _materialise("users", users)
    log = log.join(kept.select("item", dense_item="dense"), "item").join(users.rename(dense_user="dense"), "user")
    ordered = log.select("position", "time", "session", user="dense_user", item="dense_item")
    return Clean(
        log=ordered.order_by("user", "time", "position").select("user", "item", "time", "session"),
        items=kept.select("row", "title", "text", item="dense", item_id="item").order_by("item"),
        users=users.select(user="dense", user_id="user").order_by("user"),
        steps=steps,
    )
