"""Opens a store of histories where a path or an address says."""

import contextlib
import os
import re
from functools import partial
from pathlib import Path

from rexjax.errors import UserError
from rexjax.serving import user_ids
from rexjax.serving.redis_store import Redis, is_url
from rexjax.serving.sqlite_store import Sqlite
from rexjax.serving.store import DAYS, Backend, Failed, Store
from rexjax.serving.user_ids import UserIds


def open_store(where: Path | str = ":memory:", ids: UserIds | None = None, days: float = DAYS) -> Store:
    """A store in a SQLite file, in memory, or in Redis; events older than ``days`` are dropped.

    Args:
        where: a path, ":memory:", or redis://HOST[:PORT][/DATABASE].
        ids: with the keys of the users' ids; None: those of the file ``STORE.key``, which is made if it is not there.
        days: age at which an event is dropped.

    Raises:
        UserError: it is no store, cannot be written, or was written with other keys.
    """
    try:
        known = ids or _default_ids(where)
        connect = partial(Redis, str(where)) if is_url(where) else partial(Sqlite, where)
        with contextlib.closing(connect()) as backend:
            _check_keys(backend, known, where)
        return Store(connect, known, days)
    except Failed as error:
        raise UserError(f"{_shown(where)} cannot be used as a store of histories: {error}") from error


def _shown(where: Path | str) -> str:
    """``where`` without a password."""
    return re.sub(r"//[^/]*@", "//", str(where))


def _default_ids(where: Path | str) -> UserIds:
    if where == ":memory:":
        return UserIds([os.urandom(32)])
    if is_url(where):
        raise UserError(
            f"--store {_shown(where)}: several servers share it, so name the key of the users' ids with --users-key"
        )
    with contextlib.closing(Sqlite(where)) as file:
        legacy = file.legacy_key()
        found = user_ids.beside(Path(where), legacy)
        if legacy is not None:
            file.forget_legacy_key()
        return found


def _check_keys(backend: Backend, ids: UserIds, where: Path | str) -> None:
    """Notes the first key in the store.

    Raises:
        UserError: the store knows none of these keys, but others.
    """
    if isinstance(backend, Sqlite) and backend.legacy_key() is not None:
        raise UserError(f"{where} holds its own key, of an earlier version: serve it once without --users-key")
    known = backend.marks()
    if known and not known & {*ids.marks}:
        raise UserError(
            f"{_shown(where)} was written with another key of users' ids: add that key to --users-key as a last line"
        )
    backend.marks(add=ids.marks[0])
