"""Times of a log as seconds since 1970: numbers of any unit, dates, timestamps, and text of a form that is said."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from rexjax.data.engines import fetch
from rexjax.data.numbers import missing
from rexjax.data.settings import Columns
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    import ibis
    import ibis.expr.datatypes as dt
    from ibis import _
    from ibis.expr.types import Column, Table

_EPOCH = ibis.timestamp("1970-01-01", timezone="UTC")
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
FORMS_OF_NUMBERS = (*_PER_SECOND, "none")
"""Forms, as ``with_seconds`` returns them, of times that are no dates."""
_LARGEST = 1e300  # infinity is larger, on every engine
_SMALLEST = 1e8  # seconds: 1973; the same number of the next smaller unit is in January 1970
# No backslash: engines differ in what one means within a string.
_GAP = "[ \t\r\n]*"
_NUMBER = f"^{_GAP}[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?{_GAP}$"
_CLOCK = r"([01]?[0-9]|2[0-3]):[0-5][0-9]"
_ZONE = "(0[0-9]|1[0-5])"  # hours: engines wrap a larger offset around, or take it as it is
_PLAIN = rf"^[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}([ T]{_CLOCK}:[0-5][0-9]([.][0-9]+)?(Z|[+-]{_ZONE}:[0-5][0-9])?)?$"
_ISO = (
    rf"^{_GAP}([0-9]{{4}}[-/][0-9]{{1,2}}[-/][0-9]{{1,2}})([ T]{_CLOCK})?(:[0-5][0-9]([.,][0-9]+)?)?"
    rf"{_GAP}(Z|UTC|[+-]{_ZONE}(:?[0-5][0-9])?)?{_GAP}$"
)
_DATE_IN_DIGITS = (
    "^(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])(([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9])?)?)?$"
)
_DIGITS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# What a refusal offers: of these, the formats that fit.
_DAYS = [
    sign.join(parts)
    for sign in "/-."
    for parts in (("%d", "%m", "%Y"), ("%m", "%d", "%Y"), ("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d"))
] + ["%d %b %Y", "%b %d, %Y", "%b %d %Y", "%d-%b-%Y", "%d %B %Y", "%B %d, %Y", "%Y.%m.%d", "%Y-%m-%d"]
_CLOCKS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S.%f",
    " %I:%M %p",
    " %I:%M:%S %p",
    ", %H:%M",
    ", %H:%M:%S",
    ", %I:%M:%S %p",
)
_OTHERS = ("%a, %d %b %Y %H:%M:%S %Z", "%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%dT%H:%M:%S.%f %Z")
_NO_TIME = "is no time: write seconds since 1970 or ISO 8601, such as 2026-01-31 12:00:00"
_FORMATS = (*(day + clock for day in _DAYS for clock in _CLOCKS), *_OTHERS)


def with_seconds(log: Table, columns: Columns) -> tuple[Table, str]:
    """The log with its times as seconds since 1970 in UTC.

    Args:
        log: columns position (int64), raw_time (of any type) and others, stored in the engine.
        columns: what is said about times.

    Returns:
        The log with the column time (float64; null where raw_time is missing), and the unit or form that times are in.

    Raises:
        UserError: a time is none, or can be read in two ways.
    """
    kind = log.raw_time.type()
    if columns.time_format:
        return _parsed(log, columns), columns.time_format
    if isinstance(kind, dt.String):
        return _of_text(log, columns)
    if isinstance(kind, dt.Numeric) and not kind.is_boolean():
        number = log.raw_time.cast("string" if kind.is_decimal() else "float64").cast("float64")
        return _of_numbers(log, number, columns)
    if isinstance(kind, dt.Date | dt.Timestamp):
        return log.mutate(time=to_seconds(log.raw_time)), str(kind)
    if kind.is_null():
        return log.mutate(time=ibis.null("float64")), "none"
    raise UserError(
        f"column {columns.time!r} of the log holds values of the type {kind}, which are no times: write seconds since "
        "1970 or ISO 8601, such as 2026-01-31 12:00:00"
    )


def to_seconds(moment: Column) -> Column:
    """Seconds since 1970, float64, of dates and timestamps; those without a zone are in UTC."""
    return _since_epoch(moment.cast("timestamp").cast(dt.Timestamp("UTC")))


def _since_epoch(moment: Column) -> Column:
    """Seconds, float64; ``epoch_seconds`` keeps the fraction of a second on some engines only."""
    return (moment.delta(_EPOCH, unit="microsecond") / 1e6).cast("float64")


# --- numbers ----------------------------------------------------------------------------------------------------------


def _of_numbers(log: Table, number: Column, columns: Columns) -> tuple[Table, str]:
    """``log`` with the column time, from numbers (float64) of one unit, null or NaN where the time is missing."""
    log = log.mutate(time=ibis.ifelse(number.isnan(), ibis.null("float64"), number))
    size = log.time.abs()
    broken = (log.time.isnull() & ~missing(log.raw_time)) | (size > _LARGEST)
    powers = [(size < _SMALLEST * 1000**power, power) for power in range(5)]
    group = ibis.cases((broken, -1), (log.time.isnull(), 0), *powers, else_=5)
    found = log.group_by(power=group).agg(row=_.position.min(), least=_.time.min(), most=_.time.max())
    groups = {row.pop("power"): row for row in fetch(found).to_pylist()}
    if -1 in groups:
        _refuse_first(log, columns, broken)
    unit = columns.time_unit if columns.time_unit != "auto" else _unit(log, columns, groups)
    return log.mutate(time=log.time / _PER_SECOND[unit]), unit


def _unit(log: Table, columns: Columns, groups: dict[int, dict[str, Any]]) -> str:
    """The unit that puts all large numbers between 1973 and 5138.

    ``groups`` are the numbers by the power of 1000 that they stand below 1973 with: row, least and most of each.
    """
    _refuse_digits(log, columns, [row for row in groups.values() if row["least"] is not None])
    large = sorted(power for power in groups if power)
    if 5 in large or len(large) > 1:
        rows = sorted(groups[power]["row"] for power in large)[:2]
        shown = " and ".join(f"{_raw(log, row)!r} in row {row + 1}" for row in rows)
        raise UserError(
            f"column {columns.time!r} of the log holds {shown}, which are of no one unit between 1973 and 5138: write "
            "all times in one unit, or say it with --data.columns.time-unit"
        )
    return list(_PER_SECOND)[large[0] - 1] if large else "s"


def _refuse_digits(log: Table, columns: Columns, groups: Sequence[dict[str, Any]]) -> None:
    """Refuses 20230125, which is a date or a number of seconds."""
    ends = [number for group in groups for number in (group["least"], group["most"])]
    if not ends or not all(number.is_integer() and re.fullmatch(_DATE_IN_DIGITS, str(int(number))) for number in ends):
        return
    digits = log.time.cast("int64").cast("string")
    if fetch(log.filter(_.time.notnull()).agg(all=digits.re_search(_DATE_IN_DIGITS).all()))["all"][0].as_py():
        example = str(int(ends[0]))
        form = _DIGITS[len(example)]
        raise UserError(
            f"column {columns.time!r} of the log holds {example}, which may be {_try(example, form)} or a number of "
            f"seconds: pass --data.columns.time-format {form}, or --data.columns.time-unit s"
        )


def _raw(log: Table, position: int) -> Any:
    return fetch(log.filter(_.position == position).select("raw_time"))["raw_time"][0].as_py()


# --- text -------------------------------------------------------------------------------------------------------------


def _of_text(log: Table, columns: Columns) -> tuple[Table, str]:
    """``log`` whose times are all numbers or all in ISO 8601."""
    raw = log.raw_time
    form = ibis.cases(  # the most frequent ones first
        (raw.isnull(), "none"),
        (raw.re_search(_NUMBER), "number"),
        (raw.re_search(_PLAIN), "plain"),
        (raw.re_search(_ISO), "iso"),
        (missing(raw), "none"),
        else_="other",
    )
    found = fetch(log.group_by(form=form).agg(row=_.position.min())).to_pylist()
    first = {row["form"]: row["row"] for row in found if row["form"] != "none"}
    if "other" in first:
        _refuse_text(log, columns, first["other"])
    if "number" in first and len(first) > 1:
        shown = " and ".join(f"{_raw(log, row)!r} in row {row + 1}" for row in sorted(first.values())[:2])
        raise UserError(
            f"column {columns.time!r} of the log holds {shown}, a number and a date: write all times in one form"
        )
    if "number" in first:
        return _of_numbers(log, raw.try_cast("float64"), columns)
    text = _canonical(raw) if "iso" in first else raw
    log = log.mutate(time=_since_epoch(text.try_cast(dt.Timestamp("UTC"))))
    _refuse_first(log, columns, log.time.isnull() & ~missing(raw))
    return log, "ISO 8601" if first else "none"


def _canonical(text: Column) -> Column:
    """The one spelling of ISO 8601 that all engines read, such as 2026-01-31 12:00:00+02:00."""
    day, clock, second, zone = (text.re_extract(_ISO, group) for group in (1, 2, 4, 6))
    second = (second == "").ifelse(":00", second.replace(",", "."))
    return (clock == "").ifelse(day, day + clock + second + zone.replace("UTC", "Z")).replace("/", "-")


def _refuse_first(log: Table, columns: Columns, broken: Column) -> None:
    rows = fetch(log.filter(broken).select("position", raw=log.raw_time.cast("string")).order_by("position").limit(1))
    if rows.num_rows:
        raise UserError(_said(columns, rows["raw"][0].as_py(), rows["position"][0].as_py(), _NO_TIME))


def _said(columns: Columns, raw: Any, position: int, what: str) -> str:
    return f"column {columns.time!r} of the log holds {raw!r} in row {position + 1}, which {what}"


def _refuse_text(log: Table, columns: Columns, position: int) -> None:
    """Refuses times of another form, with the formats that fit up to a thousand of them and what each makes of one."""
    raw = _raw(log, position)
    others = log.filter(~missing(log.raw_time) & ~_.raw_time.re_search(_ISO) & ~_.raw_time.re_search(_NUMBER))
    texts = fetch(others.select("raw_time").distinct().order_by("raw_time").limit(1000))["raw_time"].to_pylist()
    fits = formats_of([raw, *texts])
    if not fits:
        raise UserError(_said(columns, raw, position, _NO_TIME))
    readings = " or ".join(dict.fromkeys(str(_try(raw, form)) for form in fits))
    flags = " or ".join(f"--data.columns.time-format {form!r}" for form in fits)
    may = "may be" if len(fits) > 1 else "is"
    raise UserError(_said(columns, raw, position, f"{may} {readings}, but not in ISO 8601: pass {flags}"))


def formats_of(texts: Sequence[str]) -> list[str]:
    """The formats of ``strptime``, of the usual ones, that fit all of the texts."""
    fits = list(_FORMATS)
    for text in texts:
        fits = [form for form in fits if _try(text, form) is not None]
    return fits


def _try(text: str, form: str) -> date | datetime | None:
    try:
        moment = datetime.strptime(text.strip(), form)
    except ValueError:
        return None
    return moment if any(sign in form for sign in ("%H", "%I")) else moment.date()


# --- a format that is said --------------------------------------------------------------------------------------------


def _parsed(log: Table, columns: Columns) -> Table:
    """Python reads each distinct text once, so that a format means the same on every engine."""
    texts = fetch(log.filter(_.raw_time.notnull()).select(text=_.raw_time.cast("string")).distinct())["text"]
    seconds, broken = [], []
    for text in texts.to_pylist():
        try:
            seconds.append(parse(text, columns.time_format).timestamp())
        except ValueError:
            seconds.append(None)
            broken.append(text)
    if broken:
        rows = log.filter(_.raw_time.cast("string").isin(broken[:1000])).select("position", "raw_time")
        first = fetch(rows.order_by("position").limit(1)).to_pylist()[0]
        form = f"is not of --data.columns.time-format {columns.time_format!r}: mend one of the two"
        raise UserError(_said(columns, str(first["raw_time"]), first["position"], form))
    moments = pa.table({"text": texts, "time": pa.array(seconds, pa.float64())})
    known = log.get_backend().create_table("moments_of_texts", moments, overwrite=True)
    return log.left_join(known, log.raw_time.cast("string") == known.text).drop("text")


def parse(text: str, form: str) -> datetime:
    """A moment of a format of ``strptime``, in UTC, which is also meant where the text names no zone.

    Raises:
        ValueError: the text is not of the format.
    """
    moment = datetime.strptime(text.strip(), form)
    if "%Z" in form and not moment.tzinfo and not re.search(r"\b(UTC|GMT)\b", text.upper()):
        raise ValueError(f"{text} is in a zone whose offset is not known")  # strptime drops this machine's own zone
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
