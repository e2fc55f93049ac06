"""Small logs, cleaned in DuckDB."""

import ibis
import pyarrow as pa

from rexjax.config import Data
from rexjax.data.interactions import clean

OPEN = {"source": "files", "min_user_events": 1, "min_item_events": 1, "strict": False}


def table(rows, names):
    return pa.table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def run(log, items=None, **settings):
    """Cleans a list of (user, item, time) and of (item, title), or tables."""
    con = ibis.duckdb.connect()
    data = Data(**OPEN | settings)
    log = log if isinstance(log, pa.Table) else table(log, ("user_id", "item_id", "timestamp"))
    if items is None:
        items = table([(item, f"title {item}") for item in sorted(set(log["item_id"].to_pylist()))], _ITEMS)
    elif items == "in the log":
        items, data = None, Data(**OPEN | {"items": ""} | settings)
    else:
        items = items if isinstance(items, pa.Table) else table(items, _ITEMS)
    items = None if items is None else con.create_table("raw_items", items)
    found = clean(con.create_table("raw_log", log), items, data)
    return found, con


_ITEMS = ("item_id", "title")


def raw(found, con):
    """The clean log as (raw user, raw item, time), in its order."""
    users = con.to_pyarrow(found.users)["user_id"].to_pylist()
    items = con.to_pyarrow(found.items)["item_id"].to_pylist()
    log = con.to_pyarrow(found.log).to_pylist()
    return [(users[row["user"]], items[row["item"]], row["time"]) for row in log]


def numbered_log(numbers):
    """A log whose column n holds them."""
    ids = [f"i{at}" for at in range(len(numbers))]
    return pa.table({"user_id": ["u"] * len(ids), "item_id": ids, "timestamp": range(len(ids)), "n": numbers})
