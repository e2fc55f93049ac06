"""The k-core of a log: rare users and items are dropped until none is left (a fixed point, as k-core is defined)."""

from rexjax.data.engines import count
from rexjax.data.settings import Data
from rexjax.data.steps import Steps
from rexjax.errors import needs_extra

with needs_extra("data"):
    from ibis import _
    from ibis.expr.types import Table

_ROUNDS = 1000


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
    least = f"{data.min_user_events}/{data.min_item_events}"
    counted = "" if cut is None else ", events before the cut"
    for round_ in range(1, _ROUNDS):
        thinned = _at_least(log, "user", data.min_user_events, cut)
        thinned = _at_least(thinned, "item", data.min_item_events, cut, keep_later=data.catalogue == "all")
        if thinned is log or count(thinned) == steps.taken[-1].interactions:
            break
        log = steps.take(
            f"{least}-core{counted}", thinned, "lower --data.min-user-events or --data.min-item-events", round_
        )
    return log


def _at_least(log: Table, column: str, events: int, cut: float | None, *, keep_later: bool = False) -> Table:
    if events <= 1:
        return log
    counted = log if cut is None else log.filter(_.time < cut)
    common = counted.group_by(column).agg(events=_.count()).filter(_.events >= events)
    if cut is None or not keep_later:
        return log.semi_join(common, column)
    return counted.semi_join(common, column).union(log.filter(_.time >= cut))
