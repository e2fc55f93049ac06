"""One log in many forms, on every engine: one artifact."""

import gzip
import importlib.util
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from rexjax.config import Columns, Config, Data, Files
from rexjax.pipeline.stages import prepare

NAMES = ("user_id", "item_id", "timestamp")
ROWS = [  # numbers of users that no float holds
    (str(user * 10**16 + 7), str(10 + (user * 7 + step) % 9), 1_700_000_000 + step * 1000 + user)
    for user in range(1, 5)
    for step in range(5)
]
TABLE = pa.table({name: [row[place] for row in ROWS] for place, name in enumerate(NAMES)})


def text(rows=ROWS, delimiter=",", line="{}", header=True):
    lines = [delimiter.join(NAMES)] * header + [delimiter.join(map(line.format, row)) for row in rows]
    return "\n".join(lines) + "\n"


def typed(user, item):
    columns = [TABLE["user_id"].cast(pa.int64()).cast(user), TABLE["item_id"].cast(pa.int64()).cast(item)]
    return pa.table([*columns, TABLE["timestamp"]], names=NAMES)


def lists():
    own = {user: [row for row in ROWS if row[0] == user] for user in dict.fromkeys(row[0] for row in ROWS)}
    return text([(user, " ".join(r[1] for r in rows), " ".join(str(r[2]) for r in rows)) for user, rows in own.items()])


JSON_LINES = "".join(f'{{"user_id": {u}, "item_id": "{i}", "timestamp": {t}000}}\n' for u, i, t in ROWS)
HIVE = {f"log/user_id={u}/a.parquet": TABLE.filter(pc.equal(TABLE["user_id"], u)).drop(["user_id"]) for u, *_ in ROWS}
FORMS = {
    "commas": {"log.csv": text()},
    "semicolons in UTF-16": {"log.csv": text(delimiter=";").encode("utf-16")},
    "tabs with a BOM": {"log.tsv": text(delimiter="\t").encode("utf-8-sig")},
    "pipes in quotes": {"log.csv": text(delimiter="|", line='"{}"')},
    "Windows lines, packed": {"log.csv.gz": gzip.compress(text().replace("\n", "\r\n").encode())},
    "several files": {"log-1.csv": text(ROWS[:9]), "log-2.tsv": text(ROWS[9:], "\t")},
    "lists": {"log.csv": lists()},
    "JSON lines": {"log.jsonl": JSON_LINES},
    "Parquet, strings": {"log.parquet": TABLE},
    "Parquet, whole numbers": {"log.parquet": typed(pa.int64(), pa.int32())},
    "Parquet, decimals and floats": {"log.parquet": typed(pa.decimal128(38, 0), pa.float64())},
    "Parquet, bytes": {"log.parquet": TABLE.set_column(1, "item_id", TABLE["item_id"].cast(pa.binary()))},
    "Parquet, folders": {"log/a/x.parquet": TABLE[:7], "log/b/x.parquet": TABLE[7:]},
    "Parquet, Hive": HIVE,
}
needs_spark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="needs Java and pip install 'rexjax[spark]'",
)
needs_beam = pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="needs rexjax[beam]")
ignore = pytest.mark.filterwarnings
BEAM_SAYS = (ignore("ignore::DeprecationWarning:apache_beam"), ignore("ignore::FutureWarning:apache_beam"))
SPARK_SAYS = (ignore("ignore:unclosed <socket.socket:ResourceWarning"), ignore("ignore:os.fork:RuntimeWarning"))
ENGINES = [
    pytest.param({}, id="duckdb"),
    pytest.param({"engine": "local[2]"}, id="spark", marks=(needs_spark, *SPARK_SAYS)),
    pytest.param({"beam": "--runner=DirectRunner"}, id="beam", marks=(needs_beam, *BEAM_SAYS)),
]


def content(folder, files, **settings):
    """The hashes of what is prepared from these files."""
    for name, written in files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(written, pa.Table):
            pq.write_table(written, path)
        else:
            path.write_bytes(written if isinstance(written, bytes) else written.encode())
    log = "log-*" if "log-1.csv" in files else "log"
    data = Data(
        source=Files(),
        path=str(folder / "files"),
        interactions=log,
        items="",
        text=(),
        min_user_events=1,
        min_item_events=1,
        **settings,
    )
    work = folder / "prepare"
    work.mkdir()
    return prepare.run(Config(workdir="", data=data), work, {})["content"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return content(tmp_path_factory.mktemp("plain"), FORMS["commas"])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", FORMS)
def test_a_log_in_any_form_on_any_engine_gives_one_artifact(form, engine, expected, tmp_path, request):
    if "engine" in engine:
        request.getfixturevalue("spark_session")
    settings = engine | ({"columns": Columns(explode=" ")} if form == "lists" else {})
    assert content(tmp_path, FORMS[form], **settings) == expected
