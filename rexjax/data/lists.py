"""Logs that hold a user's items as a list in one row: each item becomes a row of its own."""

from rexjax.data.engines import fetch, numbered
from rexjax.data.settings import Columns
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    from ibis import _
    from ibis.expr.types import Table

POSITION = "position in lists"
PLACE = "place in list"


def explode(log: Table, columns: Columns) -> Table:
    """A row per item of each list, in the order of rows and, within a row, of its list.

    Args:
        log: a table that has the columns.
        columns: ``explode`` says what stands between items. A time column that holds as many times as items gives each
            its own; any other holds for the whole list; without one an item's place in its list is its time.

    Returns:
        The log with one item a row, and the columns ``POSITION`` (int64), which counts rows from 0, and, without a
        time column, ``PLACE``.

    Raises:
        UserError: the item column holds no lists, or the lists of times are of other lengths.
    """
    rows = numbered(log, "row_of_list")
    item, time = rows[columns.item], rows[columns.time] if columns.time else None
    if item.type().is_string() and columns.explode != "list":
        item = item.split(columns.explode)
        if time is not None and time.type().is_string() and _fit(rows, item, time.split(columns.explode)):
            time = time.split(columns.explode)
    if not item.type().is_array():
        raise UserError(
            f"column {columns.item!r} of the log holds {item.type()}, and no lists: pass what stands between the items "
            "with --data.columns.explode, such as ' ', or leave it out"
        )
    if time is not None and time.type().is_array():
        _refuse_lengths(rows.mutate(_items=item.length(), _times=time.length()), columns)
    rows = rows.mutate(_item=item, **({} if time is None else {"_time": time}))
    each = rows.unnest("_item", offset="_place")
    when = each["_place"]
    if time is not None:
        when = each["_time"][each["_place"]] if time.type().is_array() else each["_time"]
    order = ibis.window(order_by=["row_of_list", "_place"])
    kept = {name: each[name] for name in log.columns if name not in (columns.item, columns.time)}
    kept |= {columns.item: each["_item"], columns.time or PLACE: when}
    return each.select(**kept, **{POSITION: ibis.row_number().over(order).cast("int64")})


def _fit(rows: Table, items: ibis.Value, times: ibis.Value) -> bool:
    """Whether every row has as many times as items, and any has more than one."""
    lengths = rows.select(items=items.length(), times=times.length()).filter(_.items.notnull() & _.times.notnull())
    found = fetch(lengths.agg(alike=(_.items == _.times).all(), longest=_.items.max())).to_pylist()[0]
    return bool(found["alike"]) and found["longest"] > 1


def _refuse_lengths(rows: Table, columns: Columns) -> None:
    broken = rows.filter(_["_items"] != _["_times"]).order_by("row_of_list").limit(1)
    found = fetch(broken.select("row_of_list", "_items", "_times")).to_pylist()
    if found:
        raise UserError(
            f"row {found[0]['row_of_list'] + 1} of the log has {found[0]['_items']} items in {columns.item!r} and "
            f"{found[0]['_times']} times in {columns.time!r}: give each item its time, or pass --data.columns.time ''"
        )
