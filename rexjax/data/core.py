"""The k-core of a log: rare users and items are dropped until none is left (a fixed point, as k-core is defined)."""

from typing import NamedTuple

from rexjax.data.engines import count
from rexjax.data.settings import Data
from rexjax.data.steps import Steps
from rexjax.errors import needs_extra

with needs_extra("data"):
    from ibis import _
    from ibis.expr.types import Table

_ROUNDS = 1000


class _Limit(NamedTuple):
    """How many events each user, or each item, must have."""

    column: str
    events: int
    cut: float | None
    """Only events before it are counted."""
    keep_later: bool = False
    """Whether events after the cut stay, however rare their item is."""


def k_core(steps: Steps, log: Table, data: Data, cut: float | None = None) -> Table:
    """The log without rare users and items.

    Args:
        steps: counts each round.
        log: columns user, item, time.
        data: the least events of a user and of an item, and what the catalogue holds.
        cut: only events before this moment are counted; None: all. Later events of rare users go too, and those of
            rare items where the catalogue is that of the log.

    Raises:
        UserError: nothing is left.
    """
    keep_later = cut is not None and data.catalogue == "all"
    limits = [_Limit("user", data.min_user_events, cut), _Limit("item", data.min_item_events, cut, keep_later)]
    limits = [limit for limit in limits if limit.events > 1]
    reason = f"{data.min_user_events}/{data.min_item_events}-core{'' if cut is None else ', events before the cut'}"
    for round_ in range(1, _ROUNDS):
        if not any(_any_rare(log, limit) for limit in limits):
            break
        thinned = log
        for limit in limits:
            thinned = _without_rare(thinned, limit)
        log = steps.take(reason, thinned, "lower --data.min-user-events or --data.min-item-events", round_)
    return log


def _events(log: Table, limit: _Limit) -> Table:
    """Counted events of each user, or of each item, which may be none."""
    return log.group_by(limit.column).agg(events=_.count(where=None if limit.cut is None else _.time < limit.cut))


def _any_rare(log: Table, limit: _Limit) -> bool:
    """Whether ``_without_rare`` would remove anything: cheaper than to count what it leaves."""
    least = 1 if limit.keep_later else 0
    return count(_events(log, limit).filter(_.events.between(least, limit.events - 1)).limit(1)) > 0


def _without_rare(log: Table, limit: _Limit) -> Table:
    common = _events(log, limit).filter(_.events >= limit.events)
    if not limit.keep_later:
        return log.semi_join(common, limit.column)
    return log.filter(_.time < limit.cut).semi_join(common, limit.column).union(log.filter(_.time >= limit.cut))
