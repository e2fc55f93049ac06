"""The table of users: their features, one row a user or one row a change."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rexjax.data import ids, times
from rexjax.data.engines import fetch, numbered
from rexjax.data.features.as_of import Changes
from rexjax.data.features.tables import ColumnsRead
from rexjax.data.settings import Columns
from rexjax.data.steps import materialise
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    from ibis.expr.types import Table


def read_users(table: Table, known: Table, columns: Columns, read: ColumnsRead) -> tuple[dict[str, Any], Changes]:
    """Raw columns of the users of the clean log, and whose each row is; rows of other users are left out.

    Args:
        table: a row per user, or per change of a user.
        known: columns user (dense) and user_id (raw) of the clean log.
        columns: ``user`` and ``user_time`` name columns of the table.
        read: the columns that features read.

    Raises:
        UserError: a column is absent, or a time is none.
    """
    wanted = (columns.user, *filter(None, [columns.user_time]), *read.users)
    if lacking := [name for name in wanted if name not in table.columns]:
        raise UserError(
            f"the users file has no column {', '.join(map(repr, lacking))} (it has {', '.join(table.columns)}): see "
            "--data.columns.user, --data.columns.user-time and the features of data.columns"
        )
    short = read.short(read.users)
    named = {alias: table[name] for alias, name in short.items()}
    if columns.user_time:
        named["raw_time"] = table[columns.user_time]
    rows = numbered(table.select(user_id=ids.to_text(table, columns.user, "users file"), **named), "position")
    if columns.user_time:
        with _said_of_users(columns):
            rows, _form = times.with_seconds(
                materialise("raw_users", rows), replace(columns, time=columns.user_time, time_format="")
            )
    own = rows.join(known, "user_id").order_by("position")
    found = fetch(own.select("user", *short, *(["time"] if columns.user_time else [])))
    moments = found["time"].to_numpy() if columns.user_time else np.zeros(len(found))
    changes = Changes(found["user"].to_numpy(), np.asarray(moments, np.float64))
    return {name: found[alias] for alias, name in short.items()}, changes


@contextlib.contextmanager
def _said_of_users(columns: Columns) -> Iterator[None]:
    """Times are read as those of the log; a refusal names the users file."""
    try:
        yield
    except UserError as error:
        said = str(error).replace("of the log", "of the users file").replace("--data.columns.time ", "")
        raise UserError(f"--data.columns.user-time {columns.user_time}: {said}") from error
