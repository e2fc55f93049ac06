"""Real files and their misfortunes: each is read as it is meant, or refused in one sentence."""

import bz2
import decimal
import gzip
import io
import json
import zipfile

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rexjax.config import Columns, Csv, Data, Files
from rexjax.data import interactions
from rexjax.errors import UserError

ROWS = [(f"u{user}", f"i{step}", 1_700_000_000 + 1000 * step + user) for user in range(3) for step in range(4)]
NAMES = ("user_id", "item_id", "timestamp")
HEADER = "user_id,item_id,timestamp\n"
BODY = "".join(f"{user},{item},{time}\n" for user, item, time in ROWS)
CSV = HEADER + BODY
TABLE = pa.table(dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True)))


@pytest.fixture
def con():
    con = ibis.duckdb.connect()
    yield con
    con.disconnect()


def zipped(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.csv", content)
    return packed.getvalue()


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, folder / name)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def opened(con, folder, files, csv=(), **settings):
    write(folder, files)
    data = Data(source=Files(), path=str(folder), items="", text=(), csv=Csv(**dict(csv)), **settings)
    return data.source.read(data, 0, con, folder / "scratch"), data


def events(con, folder, files, columns=(), **settings):
    """(user, item) of all events in the order of user and time."""
    least = {"min_user_events": 1, "min_item_events": 1, "repeats": "keep", "columns": Columns(**dict(columns))}
    found, data = opened(con, folder, files, **(least | settings))
    clean = interactions.clean(found.log, found.items, data)
    users = con.to_pyarrow(clean.users)["user_id"].to_pylist()
    items = con.to_pyarrow(clean.items)["item_id"].to_pylist()
    return [(users[row["user"]], items[row["item"]], row["time"]) for row in con.to_pyarrow(clean.log).to_pylist()]


SEMICOLONS = "user_id;item_id;timestamp\n" + BODY.replace(",", ";")
PACKED = {
    "a BOM": {"log.csv": "\ufeff" + CSV},
    "UTF-16": {"log.csv": CSV.encode("utf-16")},
    "UTF-16 without a mark": {"log.csv": CSV.encode("utf-16-le")},
    "CR": {"log.csv": CSV.replace("\n", "\r")},
    "CRLF": {"log.csv": CSV.replace("\n", "\r\n")},
    "CRLF and LF": {"log.csv": HEADER + BODY.replace("\n", "\r\n", 5)},
    "blank lines in front": {"log.csv": "\n\r\n\n" + CSV.replace("\n", "\r\n")},
    "blank lines and a declared delimiter": {"log.csv": "\n\nsep=,\n" + CSV},
    "a packing in upper case": {"log.csv.GZ": gzip.compress(CSV.encode())},
    "a zip with hidden files": {"log.csv.zip": zipped(**{"log": CSV, "folder/.Trash": "x", "__MACOSX/._log": "x"})},
    "blank lines": {"log.csv": HEADER + BODY.replace("\n", "\n\n", 3)},
    "semicolons": {"log.csv": SEMICOLONS},
    "decimal commas": {"log.csv": SEMICOLONS.replace("\n", ",00\n").replace("timestamp,00", "timestamp")},
    "Excel's first line": {"log.csv": "sep=;\n" + SEMICOLONS},
    "tabs": {"log.tsv": CSV.replace(",", "\t")},
    "two signs": {"log.dat": CSV.replace(",", "::")},
    "blanks in the header": {"log.csv": "user_id, item_id ,timestamp\n" + BODY},
    "gzip": {"log.csv.gz": gzip.compress(CSV.encode())},
    "gzip in two members": {"log.csv.gz": gzip.compress(HEADER.encode()) + gzip.compress(BODY.encode())},
    "bzip2": {"log.csv.bz2": bz2.compress(CSV.encode())},
    "zip": {"log.csv.zip": zipped(log=CSV)},
    "an ending in upper case": {"log.CSV": CSV},
    "two columns of other cases": {"log.csv": CSV.replace("\n", ",A,a\n")},
    "JSON lines": {"log.jsonl": "\n".join(json.dumps(dict(zip(NAMES, row, strict=True))) for row in ROWS)},
    "Parquet": {"log.parquet": TABLE},
    "parts below a folder": {"log/a/1.parquet": TABLE[:5], "log/b/1.parquet": TABLE[5:], "log/_SUCCESS": ""},
    "parts of CSV, one empty": {"log/part-0.csv": CSV, "log/part-1.csv": "", "log/README.txt": "x"},
    "partitions": {f"log/user_id=u{n}/a.parquet": TABLE[4 * n : 4 * n + 4].drop(["user_id"]) for n in range(3)},
}  # fmt: skip


@pytest.mark.parametrize("files", PACKED.values(), ids=PACKED)
def test_one_log_in_every_form_is_the_same_log(con, tmp_path, files):
    assert events(con, tmp_path, files, interactions="log") == sorted(ROWS, key=lambda row: (row[0], row[2]))


def test_several_files_are_one_log_whatever_the_encoding_of_each(con, tmp_path):
    second = CSV.replace("u", "ü").replace("üser", "user")
    files = {"log-1.csv": CSV, "log-2.csv": second.encode("utf-16")}
    found = events(con, tmp_path, files, interactions="log-*.csv")
    assert {user for user, *_ in found} == {"u0", "u1", "u2", "ü0", "ü1", "ü2"}


def test_the_card_names_each_file_with_its_rows_bytes_and_dialect(con, tmp_path):
    found, _ = opened(con, tmp_path, {"log-1.csv": CSV, "log-2.csv": SEMICOLONS}, interactions="log-*.csv")
    shown = [(file["file"], file["rows"], file["bytes"], file["delimiter"], file["encoding"]) for file in found.files]
    assert shown == [("log-1.csv", 12, len(CSV), ",", "utf-8"), ("log-2.csv", 12, len(SEMICOLONS), ";", "utf-8")]


@pytest.mark.parametrize(
    ("ids", "csv"),
    [
        (["98765432109876543210", "98765432109876543211"], {}),
        (["007", "7", "7.0", "1e3", "-0"], {}),
        (["NA", "null", "NaN", "true", "None"], {}),
        (["a", "A", "é", "e"], {}),
        (["2024-01-15", "3:16", "12.5"], {}),
        (['say "x"', "a,b", "a\nb", "#1"], {}),
        (['"Weird" Al', 'x"'], {"quote": "none"}),
    ],
)
def test_ids_are_the_text_that_was_written(con, tmp_path, ids, csv):
    cells = ids if csv else ['"' + name.replace('"', '""') + '"' for name in ids]
    content = HEADER + "1,i,1\n" * 21_000 + "".join(f"{cell},i,2\n" for cell in cells)
    assert {user for user, *_ in events(con, tmp_path, {"interactions.csv": content}, csv=csv)} == {"1", *ids}


LISTS = pa.table({"user_id": [1, 2], "items": [["b", "a"], ["c"]], "when": [[9, 5], [7]]})


@pytest.mark.parametrize(
    ("files", "columns", "order"),
    [
        ({"interactions.csv": "user_id,items\n1,b a\n2,c\n"}, {"explode": " ", "time": ""}, "bac"),
        ({"interactions.csv": "user_id,items,when\n1,b|a,9|5\n2,c,7\n"}, {"explode": "|", "time": "when"}, "abc"),
        ({"interactions.csv": "user_id,items,when\n1,b|a,9\n2,c,7\n"}, {"explode": "|", "time": "when"}, "bac"),
        ({"interactions.parquet": LISTS}, {"explode": "list", "time": "when"}, "abc"),
        ({"interactions.jsonl": '{"user_id":1,"items":["b","a"]}\n{"user_id":2,"items":["c"]}'},
         {"explode": "list", "time": ""}, "bac"),
    ],
)  # fmt: skip
def test_lists_become_rows_in_the_order_of_their_times_or_of_the_list(con, tmp_path, files, columns, order):
    found = events(con, tmp_path, files, {"item": "items"} | columns)
    assert [(user, item) for user, item, _ in found] == list(zip("112", order, strict=True))


LATE = 21_000 * "u,i,1\n"
DAY = "u,i,{}\n".format
RATED = {"columns": {"rating": "stars"}, "min_rating": 4.0}
REFUSED = [
    ({"log.csv": CSV, "log.parquet": TABLE}, {}, "log.parquet and .*log.csv may both be meant"),
    ({"log.csv": HEADER + LATE + "u,i\n"}, {}, "log.csv cannot be read in line 21002: it has 2 cells, too few"),
    ({"log.csv": HEADER + LATE + "u,i,1,\"x\"\n"}, {}, "line 21002: it has 4 cells, too many for the 3 columns"),
    ({"log.csv": HEADER + LATE + '"u,i,1\n' + BODY}, {}, 'line 21002: a cell begins with " and does not end with it'),
    ({"log.csv": HEADER + '"u",i,1\n"u"x,i,1\n'}, {}, "line 3: .*--data.csv.quote none"),
    ({"log.csv": (HEADER + "é,i,1\n").encode("latin-1")}, {}, "not of the encoding utf-8, as line 2 .*0xe9.*latin-1"),
    ({"log.csv": CSV}, {"csv": {"encoding": "utf-16"}}, "not of the encoding utf-16"),
    ({"log.csv": HEADER + "u\0,i,1\n"}, {}, "holds a NUL in line 2"),
    ({"log.csv": ""}, {}, "log.csv is empty"),
    ({"log.csv": BODY}, {}, "no header, as .*'u0', 'i0', .*--data.csv.names user_id"),
    ({"log.csv": BODY}, {"columns": {"user": "u0", "item": "i0", "time": "1700000000"}}, "seems to have no header"),
    ({"log.csv": BODY}, {"csv": {"names": ("a", "b")}}, "has 3 columns in its first line .*names gives 2"),
    ({"log.csv": "user_id,USER_ID,item_id,timestamp\n"}, {}, "more than one column 'user_id'"),
    ({"log.csv.gz": gzip.compress(CSV.encode())[:-9]}, {}, "log.csv.gz cannot be read .*cut off"),
    ({"log.csv.zip": zipped(a=CSV, b=CSV)}, {}, r"holds 2 files \(a.csv, b.csv\)"),
    ({"log.csv": b"PK\x03\x04"}, {}, "no text, but an Excel workbook"),
    ({"log.parquet": CSV}, {}, "log.parquet cannot be read as Parquet"),
    ({"log.json": "[{}]"}, {}, "cannot be read in line 1: it holds '.*', and must hold a JSON object"),
    ({"log.jsonl": '{"user_id":"1"}\n' * 70_000 + "5\n"}, {}, "cannot be read in line 70001: it holds '5'"),
    ({"log.jsonl": '{"user_id":"1"}\n' * 70_000 + "{\n"}, {}, "cannot be read in line 70001: it is no JSON"),
    ({"log/a.parquet": TABLE, "log/b.parquet": TABLE.drop(["item_id"])}, {}, "differ in the columns 'item_id'"),
    ({"log/dt=1/a.parquet": TABLE, "log/b.parquet": TABLE}, {}, "lie in different partitions"),
    ({"log/a.parquet": TABLE, "log/b.csv": CSV}, {}, "of more than one kind, such as .*a.parquet and .*b.csv"),
    ({"log/a.parquet": TABLE, "log/_delta_log/0.json": ""}, {}, "a table of Delta Lake or Iceberg"),
    ({"log-1.csv": CSV, "log-2.csv": "a,b\n1,x\n"}, {"interactions": "log-*.csv"}, "log-1.csv has the columns .* a, b"),
    ({"log-1.csv": CSV}, {"interactions": "lo*-2.csv"}, "no file lo.-2.csv .*there is log-1.csv"),
    ({"log.csv": HEADER + "u,i,1\n u,i,2\n"}, {}, "column 'user_id' holds ' u' and 'u', which differ in blanks alone"),
    ({"log.csv": HEADER + "\u00e9,i,1\ne\u0301,i,2\n"}, {}, "which are one text in two spellings of Unicode"),
    ({"log.csv": HEADER + DAY("2023-01-01 00:00+16:00")}, {}, "'2023-01-01 00:00.16:00' in row 1, which is no time"),
    ({"log.csv": HEADER + DAY("2023-01-01 00:00:00+99:00")}, {}, "00.99:00' in row 1, which is no time"),
    ({"log.csv": HEADER + DAY("1 1 2023 EST")}, {"columns": {"time_format": "%d %m %Y %Z"}}, "EST' in row 1"),
    ({"log.csv": "who|what\nu|i\n"}, {"csv": {"delimiter": "^"}},
     "no columns 'user_id', 'item_id', 'timestamp' .it has who.what.: .*--data.columns.user, .*--data.csv.delimiter"),
    ({"log.parquet": TABLE.append_column("stars", pa.array([[5]] * len(ROWS)))}, RATED, "array<int64>, .*no numbers"),
    ({"log.parquet": TABLE.append_column("stars", pa.array([b"5"] * len(ROWS)))}, RATED, "'stars' .*type binary"),
    ({"log.parquet": TABLE.append_column("stars", pa.array([5] * len(ROWS), pa.date32()))}, RATED, "type date"),
    ({"log.csv": CSV}, {"columns": {"user": ""}}, "no column '' .*--data.columns.user"),
    ({"log/user_id=1/a.parquet": TABLE}, {}, "has the columns 'user_id', and so have the names of the folders"),
    ({"log.parquet": pa.Table.from_arrays(TABLE.columns * 2, names=NAMES + ("x", "item_id", "y"))}, {},
     "has more than one column 'item_id'"),
    ({"log.parquet": pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1],
                               "wide": pa.array([decimal.Decimal(5)], pa.decimal256(39))})}, {},
     "decimals of more than 38 digits in 'wide' .decimal256"),
    ({"log.csv": HEADER + DAY("01/02/2023") + DAY("03/04/2023")}, {},
     "'01/02/2023' in row 1, which may be 2023-02-01 or 2023-01-02, .*%d/%m/%Y' or .*'%m/%d/%Y'"),
    ({"log.csv": HEADER + DAY("25/03/23")}, {}, "which may be 2023-03-25, but|may be 2023-03-25 or 2025-03-23"),
    ({"log.csv": HEADER + DAY("20230125")}, {}, "20230125, which may be 2023-01-25 or a number"),
    ({"log.csv": HEADER + DAY(1_700_000_000) + DAY(1_700_000_000_000)}, {}, "in row 2, which are of no one unit"),
    ({"log.csv": HEADER + DAY("2023-01-01") + DAY(1_700_000_000)}, {}, "a number and a date: write all times"),
    ({"log.csv": HEADER + DAY("x")}, {"columns": {"time_format": "%Y"}}, "'x' in row 1, which is not of"),
    ({"log.parquet": LISTS}, {"columns": {"item": "items", "time": "when"}}, "holds values of the type array.*explode"),
    ({"log.csv": CSV}, {"columns": {"time": ""}}, "the log needs a time"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "settings", "words"), REFUSED, ids=[words[:40] for *_, words in REFUSED])
def test_what_cannot_be_read_in_one_way_is_refused_in_one_sentence(con, tmp_path, files, settings, words):
    with pytest.raises(UserError, match=words) as caught:
        events(con, tmp_path, files, **({"interactions": "log"} | settings))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("csv", "words"),
    [
        ({"encoding": "latin-99"}, "encoding='latin-99'"),
        ({"encoding": "base64"}, "encoding='base64'"),
        ({"encoding": "undefined"}, "encoding='undefined'"),
        ({"delimiter": ":::::", "decimal": "x"}, "delimiter=':::::' .* and decimal='x'"),
        ({"quote": "ab"}, "quote='ab'"),
        ({"names": ("a", "A")}, "names="),
    ],
)
def test_settings_of_csv_that_cannot_be_are_all_named(csv, words):
    with pytest.raises(UserError, match=words):
        Csv(**csv)


def test_the_items_file_has_a_header_of_its_own_and_shares_the_encoding(con, tmp_path):
    write(tmp_path, {"interactions.csv": BODY, "items.csv": "item_id,title\ni0,Café\n".encode("latin-1")})
    data = Data(source=Files(), path=str(tmp_path), csv=Csv(encoding="latin-1", names=NAMES))
    _, items, *_ = data.source.read(data, 0, con, tmp_path / "scratch")
    assert con.to_pyarrow(items).to_pydict() == {"item_id": ["i0"], "title": ["Café"]}


@pytest.mark.parametrize(
    ("times", "columns", "seconds"),
    [
        (["1700000000123", "1700000001123"], {}, [1_700_000_000.123, 1_700_000_001.123]),
        (["1700000000123456"], {}, [1_700_000_000.123456]),
        (["1700000000000000000"], {}, [1_700_000_000.0]),
        (["5", "7"], {}, [5.0, 7.0]),
        (["5000", "7000"], {"time_unit": "ms"}, [5.0, 7.0]),
        (["20230125"], {"time_format": "%Y%m%d"}, [1_674_604_800.0]),
        (["25.01.2023 01:00 +0100"], {"time_format": "%d.%m.%Y %H:%M %z"}, [1_674_604_800.0]),
    ],
)
def test_times_are_seconds_whatever_their_unit(con, tmp_path, times, columns, seconds):
    content = HEADER + "".join(DAY(time) for time in times)
    assert [time for *_, time in events(con, tmp_path, {"interactions.csv": content}, columns)] == seconds


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("%H:%M", "has no year"),
        ("%d %b", "has no year"),
        ("%Y-W%W", "has a week without its day"),
        ("%d/%m/%Y %I:%M", "has only one of %I .* and %p"),
        ("%d/%m/%Y %H:%M %p", "has only one of %I .* and %p"),
        ("%d/%d/%Y", "names one part twice"),
        ("%Y-%Q", "strptime does not know .*bad directive"),
        ("%Y %", "strptime does not know .*stray %"),
    ],
)
def test_formats_that_would_be_read_as_another_moment_are_refused(form, words):
    with pytest.raises(UserError, match=f"data.columns has time_format=.* which {words}"):
        Columns(time_format=form)


@pytest.mark.parametrize("form", ["%Y", "%d/%m/%y %I:%M %p", "%G-W%V-%u", "%H:%M %z, %j %Y", "100%% %Y"])
def test_formats_that_name_a_moment_are_taken(form):
    assert Columns(time_format=form).time_format == form
