"""Exact quantiles of a log's times, the same on every engine and with little memory.

Engines interpolate, approximate and break ties in ways of their own, and an exact quantile of theirs holds every value
in one place. Here an engine only counts, in buckets of a power of two whose bounds are exact in float64, and the bucket
that holds the wanted rank is counted more finely until few events are left in it.
"""

import math
from collections.abc import Sequence

import numpy as np

from rexjax.data.engines import fetch
from rexjax.errors import needs_extra

with needs_extra("data"):
    from ibis import _
    from ibis.expr.types import Table

BUCKET_BITS = 20
"""A span is halved so many times at once: at most 2^BUCKET_BITS counts reach this machine."""
FEW = 1 << BUCKET_BITS
"""Events up to which the times themselves are fetched and sorted."""


def at_shares(log: Table, shares: Sequence[float]) -> list[float]:
    """The times that such ``shares`` of all events precede, interpolated linearly between the two nearest events."""
    span = fetch(log.agg(events=_.count(), first=_.time.min(), last=_.time.max())).to_pylist()[0]
    ranks = np.asarray(shares) * (span["events"] - 1)
    wanted = np.unique(np.concatenate([np.floor(ranks), np.ceil(ranks)])).astype(np.int64)
    times = _at_ranks(log.select("time"), wanted, **span)
    return np.interp(ranks, wanted, times).tolist()


def _at_ranks(log: Table, ranks: np.ndarray, events: int, first: float, last: float) -> np.ndarray:
    """The times, float64 [R], of those events that ``ranks`` (int64 [R]) others precede; the log has so many events."""
    if first == last:
        return np.full(len(ranks), first)
    if events <= FEW:
        return np.sort(fetch(log)["time"].to_numpy())[ranks]
    # no finer than float64 is there, so that bucket numbers are exact integers below 2^53
    finest = float(np.spacing(max(abs(first), abs(last))))
    width = max(2.0 ** (math.ceil(math.log2(last - first)) - BUCKET_BITS), finest)
    log = log.mutate(bucket=(_.time / width).floor().cast("int64"))
    counted = log.group_by("bucket").agg(events=_.count(), first=_.time.min(), last=_.time.max())
    buckets = fetch(counted.order_by("bucket")).to_pylist()
    reached = np.cumsum([bucket["events"] for bucket in buckets])
    chosen = np.searchsorted(reached, ranks, side="right")
    times = np.empty(len(ranks))
    for number in np.unique(chosen):
        bucket, own = buckets[number], chosen == number
        inside = log.filter(_.bucket == bucket.pop("bucket")).select("time")
        times[own] = _at_ranks(inside, ranks[own] - (reached[number] - bucket["events"]), **bucket)
    return times
