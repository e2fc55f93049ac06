"""Random logs in random dialects and types, and how a person reads them: cell by cell, in plain Python."""

import csv
import datetime
import decimal
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

Event = tuple[str, str, float]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
SIGNS = "aZ09 é中😀\"',;|\t\\#=-.:_%/"
IDS = st.one_of(
    st.integers(0, 10**22).map(str),
    st.integers(0, 99).map("{:05d}".format),
    st.text(SIGNS, min_size=1, max_size=6),
    st.sampled_from(
        ["007", "7", "7.0", "1e3", "NaN", "null", "NA", "true", "2024-01-15", "3:16", "Infinity", "-0", "A", "a"]
    ),
)
SECONDS = st.integers(1_000_000_000, 1_900_000_000)


class Written(NamedTuple):
    """A log as it stands in a file, and as it is meant."""

    name: str
    content: bytes
    events: list[Event]
    columns: dict[str, str] = {}
    csv: dict[str, Any] = {}


@st.composite
def logs(draw: Any) -> Written:
    """A log of up to 30 events in one of the forms below."""
    size = draw(st.integers(1, 30))
    form = draw(st.sampled_from(FORMS))
    return form(draw, size)


def texts(draw: Any, size: int) -> list[tuple[str, str, int]]:
    users = draw(st.lists(IDS, min_size=1, max_size=5))
    items = draw(st.lists(IDS, min_size=1, max_size=8))
    rows = st.tuples(st.sampled_from(users), st.sampled_from(items), SECONDS)
    return draw(st.lists(rows, min_size=size, max_size=size))


def as_csv(draw: Any, size: int) -> Written:
    rows = texts(draw, size)
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", "::"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    spell, columns = draw(st.sampled_from(TIMES))
    header = draw(st.booleans())
    one = delimiter if len(delimiter) == 1 else "\x1f"
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=one, quoting=quoting, lineterminator=end)
    rows = [tuple(cell.replace(one, "_") if one == "\x1f" else cell for cell in row[:2]) + row[2:] for row in rows]
    if one == "\x1f":  # a writer of several signs quotes nothing
        rows = [(*(cell.replace(":", "_").replace('"', "_") for cell in row[:2]), row[2]) for row in rows]
    if header:
        writer.writerow(["user_id", "item_id", "timestamp"])
    writer.writerows([user, item, spell(second)] for user, item, second in rows)
    said = {} if encoding in ("utf-8", "utf-8-sig", "utf-16") else {"encoding": encoding}
    said |= {} if header else {"names": ("user_id", "item_id", "timestamp")}
    content = out.getvalue().replace(one, delimiter).encode(encoding)
    return Written("log.csv", content, [(user, item, float(second)) for user, item, second in rows], columns, said)


def as_json(draw: Any, size: int) -> Written:
    rows = texts(draw, size)
    whole = draw(st.booleans())
    rows = [(str(abs(hash(user)) % 10**19), item, second) for user, item, second in rows] if whole else rows
    lines = [
        json.dumps({"user_id": int(user) if whole else user, "item_id": item, "timestamp": second * 1000})
        for user, item, second in rows
    ]
    content = "\n".join(lines).encode()
    return Written("log.jsonl", content, [(user, item, float(second)) for user, item, second in rows])


def as_parquet(draw: Any, size: int) -> Written:
    kind = draw(st.sampled_from(sorted(TYPES, key=str)))
    make, spell = TYPES[kind]
    numbers = st.integers(0, 2**53 - 1)
    users, items = (draw(st.lists(numbers, min_size=size, max_size=size)) for _ in range(2))
    seconds = draw(st.lists(SECONDS, min_size=size, max_size=size))
    moments = [EPOCH + datetime.timedelta(seconds=second) for second in seconds]
    table = {"user_id": make(users), "item_id": make(items), "timestamp": pa.array(moments, pa.timestamp("us", "UTC"))}
    out = io.BytesIO()
    pq.write_table(pa.table(table), out)
    events = zip(map(spell, users), map(spell, items), map(float, seconds), strict=True)
    return Written("log.parquet", out.getvalue(), list(events))


def moment(second: int) -> datetime.datetime:
    return EPOCH + datetime.timedelta(seconds=second)


TIMES = [
    (str, {}),
    (lambda second: f"{second}000", {}),
    (lambda second: f"{second}000000", {}),
    (lambda second: f"{second}.0", {}),
    (lambda second: moment(second).isoformat(), {}),
    (lambda second: moment(second).strftime("%Y-%m-%d %H:%M:%SZ"), {}),
    (lambda second: moment(second).astimezone(datetime.timezone(datetime.timedelta(hours=-5.5))).isoformat(), {}),
    (lambda second: moment(second).strftime("%d.%m.%Y %H:%M:%S"), {"time_format": "%d.%m.%Y %H:%M:%S"}),
]
TYPES = {
    "int64": (lambda numbers: pa.array(numbers, pa.int64()), str),
    "uint64": (lambda numbers: pa.array(numbers, pa.uint64()), str),
    "float64": (lambda numbers: pa.array(map(float, numbers), pa.float64()), str),
    "decimal": (lambda numbers: pa.array(map(decimal.Decimal, numbers), pa.decimal128(38, 0)), str),
    "decimal of two digits": (lambda numbers: pa.array(map(decimal.Decimal, numbers), pa.decimal128(38, 2)), str),
    "bytes": (lambda numbers: pa.array([f"é{number}".encode() for number in numbers], pa.binary()), "é{}".format),
    "dictionary": (lambda numbers: pa.array(map(str, numbers), pa.string()).dictionary_encode(), str),
    "large strings": (lambda numbers: pa.array([f" {n}" for n in numbers], pa.large_string()), " {}".format),
    "booleans": (lambda numbers: pa.array([n % 2 == 1 for n in numbers]), lambda n: "true" if n % 2 else "false"),
    "dates": (
        lambda numbers: pa.array([datetime.date(2020, 1, 1) + datetime.timedelta(days=n % 999) for n in numbers]),
        lambda n: str(datetime.date(2020, 1, 1) + datetime.timedelta(days=n % 999)),
    ),
}
FORMS = [as_csv, as_csv, as_csv, as_json, as_parquet]


def differences(written: Written, folder: Path, con: Any) -> str:
    """ "equal", "refused: WHY", or how what is read differs from what was written."""
    from rexjax.config import Columns, Csv, Data, Files
    from rexjax.data import engines, ids, times
    from rexjax.errors import UserError

    (folder / written.name).write_bytes(written.content)
    described = {"columns": Columns(**written.columns), "csv": Csv(**written.csv), "interactions": written.name}
    data = Data(source=Files(), path=str(folder), items="", text=(), **described)
    try:
        log = data.source.read(data, 0, con, folder / "scratch").log
        named = {name: ids.to_text(log, f"{name}_id", "log") for name in ("user", "item")}
        rows = engines.numbered(log.select(raw_time="timestamp", **named), "position")
        seconds, _ = times.with_seconds(con.create_table("log", rows, overwrite=True), data.columns)
        read = engines.fetch(seconds.order_by("position").select("user", "item", "time")).to_pylist()
    except UserError as error:
        return f"refused: {error}"
    ours = [tuple(row.values()) for row in read]
    return "equal" if ours == written.events else f"read {ours}, meant {written.events}"
