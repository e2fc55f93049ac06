"""Cleaning, as ibis expressions: missing values, repeats, ratings, k-core, dense ids.

The same expressions run on DuckDB here and on Spark or BigQuery elsewhere. Every step is counted for the data card.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from rexjax.data import ids, lists, times
from rexjax.data.engines import count, fetch, numbered
from rexjax.data.settings import Columns, Data
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    from ibis import _
    from ibis.expr.types import Column, Table


class Clean(NamedTuple):
    """A clean log with dense ids, and its items."""

    log: Table
    """Columns user int64, item int64, time, session, in the order (user, time, original position)."""
    items: Table
    """Columns item int64 (dense), item_id (raw), row (line of the items file), title, text, in the order of item; and
    category, where --data.columns.category names one."""
    users: Table
    """Columns user int64 (dense), user_id (raw)."""
    steps: list[dict[str, Any]]
    """What each cleaning step removed and left."""
    times: Table
    """Column time of the same events, in no order, as the engine has stored it."""
    unused: int
    """Items of the catalogue without any interaction in the log as it was read."""
    time_form: str
    """What times of the log are written in: a unit (s, ms, us, ns), a format, or a type."""


def clean(log: Table, items: Table | None, data: Data) -> Clean:
    """Applies all cleaning steps in order; each is materialised once in the engine."""
    columns = data.columns
    steps: list[dict[str, Any]] = []
    with reading("log"):
        log = _count(steps, "read", _named(log, columns, data, own_text=items is None))
    with reading("items file"):
        known = _materialise("catalogue", _own_catalogue(log, data) if items is None else catalogue(items, data))
    ids.refuse_look_alikes(log.select(id="user"), columns.user)
    ids.refuse_look_alikes(log.select(id="item").union(known.select(id="item")), columns.item)
    if steps[0]["interactions"] == 0:
        raise UserError("the log is empty: nothing to learn from; check --data.path and --data.interactions")
    log, time_form = times.with_seconds(log, columns)
    log = _count(
        steps,
        "missing user, item or time",
        log.filter(_.user.notnull(), _.item.notnull(), _.time.notnull()).drop("raw_time"),
    )
    unused = count(known.anti_join(log, "item"))
    log = _count(steps, "item without a row in the items file", _known_items(log, known, data))
    if data.min_rating:
        log = _count(steps, f"rating below {data.min_rating:g}", log.filter(_.rating >= data.min_rating))
    log = _count(steps, "repeated interactions", _without_repeats(log, data.repeats))
    log = _k_core(steps, log, data)
    return Clean(*_with_dense_ids(log, known), steps, log.select("time"), unused, time_form)


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


def _named(log: Table, columns: Columns, data: Data, *, own_text: bool) -> Table:
    wanted = {"user": columns.user, "item": columns.item, "raw_time": columns.time}
    if data.min_rating:
        wanted["rating"] = columns.rating
    if data.split == "last_session":
        wanted["session"] = columns.session
    if own_text and columns.category:
        wanted["category"] = columns.category
    if columns.explode and not columns.time:
        del wanted["raw_time"]
    for key, name in wanted.items():
        if not name:
            raise UserError(
                "the log needs a time: name its column with --data.columns.time, or pass --data.columns.explode"
            )
        if name not in log.columns:
            raise UserError(
                f"the log has no column {name!r} (it has {', '.join(log.columns)}): say which one it is with "
                f"--data.columns.{key.removeprefix('raw_')}"
            )
    if columns.explode:
        log = lists.explode(log, columns)
        wanted["raw_time"] = columns.time or lists.PLACE
    named = {key: log[name] for key, name in wanted.items()}
    named |= {key: ids.to_text(log, wanted[key], "log") for key in ("user", "item")}
    if "rating" in named and named["rating"].type().is_string():  # CSV is read as text
        named["rating"] = named["rating"].strip().try_cast("float64")
    if own_text:
        missing = [name for name in data.text if name not in log.columns]
        if missing:
            raise UserError(
                f"there is no items file, and the log has no text column {', '.join(map(repr, missing))} "
                f"(it has {', '.join(log.columns)}): see --data.items and --data.text"
            )
        named |= {f"text_{i}": log[name] for i, name in enumerate(data.text)}
    if "session" not in named:
        named["session"] = ibis.literal(0)
    if columns.explode:
        return log.select(**named, position=log[lists.POSITION])
    return numbered(log.select(**named), "position")


def catalogue(items: Table, data: Data) -> Table:
    """One row per raw item: item, row (where it was), title, text and, if asked for, category ('' where there is none).

    Raises:
        UserError: a column is missing.
    """
    columns = data.columns
    named = {columns.item: "--data.columns.item"} | dict.fromkeys(data.text, "--data.text")
    if columns.category:
        named[columns.category] = "--data.columns.category"
    for name, flag in named.items():
        if name not in items.columns:
            raise UserError(f"{data.items} has no column {name!r} (it has {', '.join(items.columns)}): see {flag}")
    category = items[columns.category] if columns.category else None
    return _catalogue(
        items, None, ids.to_text(items, columns.item, "items file"), [items[name] for name in data.text], category
    )


def _own_catalogue(log: Table, data: Data) -> Table:
    """The same from a log that carries the text."""
    category = log.category if data.columns.category else None
    return _catalogue(log, log.position, log.item, [log[f"text_{i}"] for i in range(len(data.text))], category)


def _catalogue(table: Table, row: Column | None, item: Column, parts: list[Column], category: Column | None) -> Table:
    parts = [part.cast("string").fill_null("").strip() for part in parts]
    text = ibis.literal("")
    for part in parts:
        text = ibis.cases((text == "", part), (part == "", text), else_=text + ibis.literal(". ") + part)
    title = parts[0] if parts else item
    said = {"title": title, "text": text}
    if category is not None:
        said["category"] = category.cast("string").fill_null("").strip()
    rows = numbered(table.select(item=item, **said), "row") if row is None else table.select(row=row, item=item, **said)
    rows = rows.filter(rows.item.notnull())
    return rows.group_by("item").agg(row=_.row.min(), **{name: _[name].max() for name in said})


def _known_items(log: Table, catalogue: Table, data: Data) -> Table:
    ids.refuse_strangers(log.select(id="item"), catalogue.select(id="item"))
    unknown = log.anti_join(catalogue, "item")
    unused = catalogue.anti_join(log, "item")
    if data.strict:
        _refuse(unknown.select("item").distinct(), "in the log only, without a row in the items file")
        _refuse(unused, "in the items file only, without any interaction")
        if data.text:
            _refuse(catalogue.filter(_.text == ""), "without text")
    return log.semi_join(catalogue, "item")


def _refuse(items: Table, what: str) -> None:
    found = count(items)
    if found:
        example = fetch(items.order_by("item").limit(1))["item"][0].as_py()
        raise UserError(f"{found} items are {what} (such as {example!r}): mend the files, or pass --data.no-strict")


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
    row = fetch(log.agg(interactions=_.count(), users=_.user.nunique(), items=_.item.nunique())).to_pylist()[0]
    removed = steps[-1]["interactions"] - row["interactions"] if steps else 0
    steps.append({"step": step, "removed": removed, **row})
    return log


def _with_dense_ids(log: Table, catalogue: Table) -> tuple[Table, Table, Table]:
    """Log, items and users with dense ids from 0: users by raw id, items by the MD5 of theirs, which tells nothing.

    Shorter ids of users come first, so that whole numbers are in the order of their size.
    Published logs number items by first occurrence; a model or a tie broken by id would read the future from that.
    """
    by_hash = [_.item.hexdigest("md5"), _.item]
    kept = catalogue.semi_join(log, "item").mutate(dense=ibis.row_number().over(ibis.window(order_by=by_hash)))
    kept = _materialise("items", kept)
    users = (
        log.select("user")
        .distinct()
        .mutate(dense=ibis.row_number().over(ibis.window(order_by=[_.user.length(), _.user])))
    )
    users = _materialise("users", users)
    log = log.join(kept.select("item", dense_item="dense"), "item").join(users.rename(dense_user="dense"), "user")
    ordered = log.select("position", "time", "session", user="dense_user", item="dense_item")
    category = ["category"] if "category" in kept.columns else []
    return (
        ordered.order_by("user", "time", "position").select("user", "item", "time", "session"),
        # Spark stores row numbers as int32
        kept.select("row", "title", "text", *category, item=kept.dense.cast("int64"), item_id="item").order_by("item"),
        users.select(user=users.dense.cast("int64"), user_id="user").order_by("user"),
    )
