"""Which columns of the log, the items and the users hold features, and how they travel through cleaning.

Raw columns keep their values and get short names, so that no name of a user's clashes with one of cleaning's.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from rexjax.data.features.declared import Feature

if TYPE_CHECKING:
    from rexjax.data.settings import Columns

_SHORT = "feature_"


class ColumnsRead(NamedTuple):
    """Raw columns that features read, by the table that has them."""

    log: tuple[str, ...]
    items: tuple[str, ...]
    users: tuple[str, ...]
    numbers: tuple[str, ...]
    """Those that hold numbers, of any table."""
    of_items: tuple[str, ...]
    """Those of items' features, wherever they are."""
    known: tuple[str, ...]
    """All of them."""

    def short(self, names: Iterable[str]) -> dict[str, str]:
        """The raw columns by the names that they have in cleaning."""
        return {f"{_SHORT}{self.known.index(name)}": name for name in names}


def columns_read(columns: "Columns", *, items: bool, users: bool) -> ColumnsRead:
    """The raw columns that features read.

    Args:
        columns: what is declared.
        items: whether there is a table of items; else the log has their columns.
        users: whether there is a table of users; else the log has their columns.
    """
    of_items, of_users = _sources(columns.item_features), _sources(columns.user_features)
    of_events = (*_sources(columns.context), *filter(None, (columns.event, columns.weight)))
    log = (*of_events, *(() if items else of_items), *(() if users else of_users))
    numbers = [
        name
        for feature in (*columns.item_features, *columns.user_features, *columns.context)
        for name in feature.numbers
    ]
    return ColumnsRead(
        _distinct(log),
        _distinct(of_items) if items else (),
        _distinct(of_users) if users else (),
        _distinct((*numbers, *filter(None, [columns.weight]))),
        _distinct(of_items),
        _distinct((*of_events, *of_items, *of_users)),
    )


def _sources(features: Iterable[Feature]) -> tuple[str, ...]:
    return tuple(name for feature in features for name in feature.sources)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
