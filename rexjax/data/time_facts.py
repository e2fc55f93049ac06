"""What the times of a log are like: whether they are dates, tied, relative to each user, or of mixed units."""

import contextlib
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from rexjax.data.histories import Histories

TIED = 0.5
"""Share of events that share their time with the one before, above which their order says little."""
RELATIVE = 0.8
"""Share of users who begin within NEAR of the log's first moment, above which times count from each user's start."""
NEAR = 1e-3
"""Of the log's time span."""
EVEN = 0.25
"""Share of events midway in time between their neighbours, above which times look interpolated. In the logs of
MovieLens, Amazon, Online Retail and the simulated shop it is below 0.06; in MovieLens 1M with a third of the times
interpolated it is 0.6."""
_LEAST_GAP, _ROUNDING, _FEWEST = 10, 1, 100
"""Gaps between events that are counted, what interpolated ones may differ by, and how many are needed."""
SAME_DAY = 0.1
"""Share of events on the day of the one before, in a log of whole days, above which it is said."""
DAY = 86_400
_EARLIEST, _RECENT, _LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1900, 1980, 2100))
_YEARS = (1900, 2100)
_EXCEL_DAYS = (25_569, 73_051)
"""1970 to 2099, in days as Excel counts them."""
_UNITS = {"s": 1e8, "ms": 1e11, "us": 1e14, "ns": 1e17}
"""The least number that is a date in that unit; each reaches to the next one's."""


def are_dates(first: float, last: float) -> bool:
    """Whether a log of these bounds counts seconds since 1970: it ends between 1980 and 2100."""
    return first >= _EARLIEST and _RECENT <= last < _LATEST


def spell_time(time: float, *, dated: bool = False) -> str:
    """A moment as ISO 8601 in UTC where it is a date, or known to be one (``dated``), else the number.

    >>> spell_time(1704067200.0), spell_time(5.0)
    ('2024-01-01 00:00:00', '5')
    """
    if dated or are_dates(time, time):
        with contextlib.suppress(OverflowError):  # of a year beyond 9999
            return (datetime(1970, 1, 1) + timedelta(seconds=time)).isoformat(" ", "seconds")
    return f"{time:.15g}"


class TimeTally:
    """Counts events and users by what their times are like, record by record."""

    def __init__(self, first: float, last: float, now: float, dated: bool = False) -> None:
        """Bounds of the log's times, the present moment in seconds since 1970, and whether times were written as dates,
        whose unit is no question."""
        self._first, self._last, self._now, self._dated = first, last, now, dated
        self._events = self._followers = self._tied = self._future = self._early = 0
        self._users = self._at_start = self._inner = self._midway = self._same_day = 0
        self._whole_days = True
        self._units = np.zeros(len(_UNITS) + 1, np.int64)

    def add(self, record: Histories) -> None:
        """Counts one record."""
        times = record.times
        begins = record.offsets[:-1][np.diff(record.offsets) > 0]
        follows = np.ones(len(times), bool)
        follows[begins] = False
        self._events += len(times)
        self._followers += int(follows.sum())
        self._tied += int((follows & np.append(False, np.diff(times) == 0)).sum())
        self._same_day += int((follows & np.append(False, np.diff(times // DAY) == 0)).sum())
        self._whole_days &= bool((times % DAY == 0).all())
        before, after = np.diff(times)[:-1], np.diff(times)[1:]
        counted = follows[1:-1] & follows[2:] & (np.minimum(before, after) >= _LEAST_GAP)
        self._inner += int(counted.sum())
        self._midway += int((counted & (np.abs(after - before) <= _ROUNDING)).sum())
        self._future += int((times > self._now).sum())
        self._early += int((times < 0).sum())
        self._users += len(begins)
        near = self._first + NEAR * (self._last - self._first)
        self._at_start += int((times[begins] <= near).sum())
        unit = np.searchsorted(list(_UNITS.values()), times, side="right")
        self._units += np.bincount(unit, minlength=len(self._units))

    def facts(self) -> dict[str, Any]:
        """Time span, ties and what orders them, and events on one day, for the data card."""
        spell: Callable[[float], Any] = float
        if dates := self._dated or are_dates(self._first, self._last):
            spell = partial(spell_time, dated=self._dated)
        days = {"events": self._same_day, "share": self._same_day / max(self._followers, 1)}
        return {
            "time_span": {"first": spell(self._first), "last": spell(self._last)},
            "tied_events": {"events": self._tied, "share": self._share_tied},
            "order_of_ties": "the log's rows",
            **({"same_day_events": days} if dates else {}),
        }

    @property
    def _share_tied(self) -> float:
        return self._tied / max(self._followers, 1)

    def notices(self, split: str) -> list[str]:
        """One sentence for each way in which the times mislead, with what to do."""
        found = []
        if self._share_tied > TIED and split != "last_session":
            found.append(
                f"{self._share_tied:.0%} of the events share their time with the one before, so their order says "
                "little: name their session in --data.columns.session and use --data.split last_session."
            )
        counts = [f"{number:,} in {name}" for name, number in zip(_UNITS, self._units[1:], strict=True) if number]
        if len(counts) > 1 and not self._dated:
            found.append(
                f"Times look like a mix of units ({', '.join(counts)}): write all of them in one unit, and name it "
                "with --data.columns.time-unit."
            )
            return found
        return found + self._misplaced() + (self._relative() or self._interpolated()) + self._of_days(split)

    def _misplaced(self) -> list[str]:
        if not self._dated and (notice := self._misread()):
            return [notice]
        if not self._dated and self._last < _RECENT:
            return []
        early, future = self._early, self._future
        return [
            f"{number:,} events lie {where}: correct these times, or leave the events out with --data.where."
            for number, where in ((early, "before 1970"), (future, "in the future"))
            if number
        ]

    def _misread(self) -> str:
        """What numbers look like that are no seconds; "" where they may be."""
        if self._last >= _UNITS["ms"]:
            unit = [name for name, least in _UNITS.items() if self._last >= least][-1]
            return f"Times look like {unit}, and are read as seconds: set --data.columns.time-unit {unit}."
        if self._is_within(_YEARS):
            return "Times look like years, and are read as seconds: pass --data.columns.time-format %Y."
        if self._is_within(_EXCEL_DAYS):
            return "Times look like days as Excel counts them, and are read as seconds: write them as dates."
        return ""

    def _is_within(self, bounds: tuple[int, int]) -> bool:
        return bounds[0] <= self._first and self._last < bounds[1]

    def _interpolated(self) -> list[str]:
        share = self._midway / max(self._inner, 1)
        if self._inner < _FEWEST or share <= EVEN or self._whole_days:
            return []
        return [
            f"{share:.0%} of the events lie midway in time between their neighbours, so times look interpolated: their "
            "order may hold, but do not use --data.split global_time or a model's time, and expect no trend over time."
        ]

    def _of_days(self, split: str) -> list[str]:
        if not self._whole_days or not SAME_DAY < self._share_tied <= TIED or self._first == self._last:
            return []
        if not (self._dated or are_dates(self._first, self._last)) or split == "last_session":
            return []
        return [
            f"Times are whole days, and {self._share_tied:.0%} of the events share their day with the one before: "
            "their order is that of the log's rows."
        ]

    def _relative(self) -> list[str]:
        share = self._at_start / max(self._users, 1)
        if self._users < 2 or math.isclose(self._first, self._last) or share <= RELATIVE:
            return []
        return [
            f"{share:.0%} of the users begin at the log's first moment, so times seem to count from each user's own "
            "start: do not use --data.split global_time, and expect no trend over time."
        ]
