"""Spark beside DuckDB: the same artifact from the same log, whatever differs between the engines themselves."""

import dataclasses
import datetime
import importlib.util
import shutil
import socket

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from rexjax.artifacts import store
from rexjax.config import Columns, Config, Csv, Data, Files, Shop
from rexjax.data import engines, files, quantiles, times
from rexjax.data.dialects import Wanted
from rexjax.errors import UserError
from rexjax.pipeline.stages import prepare

needs_spark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="needs Java and pip install 'rexjax[spark]'",
)
# PySpark leaves the socket by which Arrow came to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),  # the JVM is begun by a fork; JAX may be there already
]


@pytest.fixture
def spark(spark_session, tmp_path):
    with engines.opened("local[2]", tmp_path / "engine") as con:
        yield con


@pytest.fixture
def duckdb(tmp_path):
    with engines.opened("duckdb", tmp_path / "duckdb") as con:
        yield con


def write(table, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=100)
    else:
        pa.csv.write_csv(table, path)


def opened_table(con, path):
    paths, root = files.find(path.parent, path.name, "--file"), path if path.is_dir() else None
    return files.read(con, paths, Csv(), Wanted(()), path.parent / "scratch", root)[0]


def untidy(rows=1500):
    """A log with ties in time, repeats, missing values and awkward strings; its order in the file decides."""
    rng = np.random.default_rng(0)
    user, item, stars = rng.zipf(1.3, rows) % 90, rng.zipf(1.2, rows) % 60, rng.integers(1, 11, rows) / 2
    columns = {
        "who": [f"ü{u}" if u else None for u in user.tolist()],
        "sku": [f'a "{i}", new' if i else None for i in item.tolist()],
        "at": [int(t) if t else None for t in (rng.integers(0, 50, rows) * 1000).tolist()],
        "stars": [None if s < 1 else float("nan") if s == 1 else s for s in stars.tolist()],
        "visit": (np.arange(rows) // 40).tolist(),
    }
    titles = [f"Thing {i},\n of {i % 7}" if i % 9 else None for i in range(60)]
    items = {
        "sku": [f'a "{i}", new' for i in [*range(60), 3, 7, 7]],
        "title": [*titles, "Zulu", "Aardvark", "Thing 7"],
        "made by": [f" {i % 5}\t" for i in range(63)],
    }
    return pa.table(columns), pa.table(items)


UNTIDY = Columns(user="who", item="sku", time="at", rating="stars", session="visit")


def artifact_of(engine, folder, files, **settings):
    data = Data(**{"engine": engine, "path": str(files), "strict": False, "source": Files()} | settings)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = prepare.run(Config(workdir="", seed=3, data=data), folder, {})
    content = metrics.pop("content")
    return metrics, store.finish(folder, "key", content=content, seconds=0, config={}, metrics=metrics)


@needs_spark
@pytest.mark.parametrize(
    ("ending", "settings"),
    [
        ("csv", {"split": "leave_one_out", "columns": UNTIDY, "text": ("title", "made by"), "min_user_events": 3,
                 "where": "stars != 4 and who != 'ü7'"}),
        ("parquet", {"split": "global_time", "columns": UNTIDY, "min_rating": 2.0, "repeats": "keep",
                     "catalogue": "log"}),
        ("csv", {"split": "last_session", "columns": dataclasses.replace(UNTIDY, category="stars"), "items": "",
                 "text": ("sku",), "min_item_events": 2, "where": "visit >= 2"}),
        ("shop", {"split": "cold_items", "source": Shop(users=300, items=80, interactions=3000)}),
    ],
)  # fmt: skip
def test_spark_makes_the_artifact_that_duckdb_makes(spark_session, tmp_path, ending, settings):
    if ending != "shop":
        log, items = untidy()
        write(log, tmp_path / f"interactions.{ending}")
        write(items, tmp_path / f"items.{ending}")
    card, ours = artifact_of("duckdb", tmp_path / "duckdb", tmp_path, **settings)
    other_card, other = artifact_of("local[2]", tmp_path / "spark", tmp_path, **settings)
    assert other_card == card
    assert other.hash == ours.hash
    assert len(card["cleaning"]) > 2 and card["test_users"] > 5
    schemas = [pq.read_schema(artifact.folder / "items.parquet") for artifact in (ours, other)]
    assert schemas[0].equals(schemas[1])


@needs_spark
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_are_numbered_in_the_order_of_files_and_within_them(spark, tmp_path, ending):
    table = pa.table({"n": range(3000), "word": [f"w{n * 7 % 13}" for n in range(3000)]})
    if ending == "csv":
        write(table, tmp_path / "log.csv")
        found = opened_table(spark, tmp_path / "log.csv")
    else:
        for part, (start, rows) in enumerate([(0, 10), (10, 2500), (2510, 40), (2550, 450)]):  # Spark begins with large
            write(table.slice(start, rows), tmp_path / "log" / f"part-{part}.parquet")
        found = opened_table(spark, tmp_path / "log")
    rows = engines.fetch(engines.numbered(found, "row").order_by("row"))
    assert rows["row"].to_pylist() == [int(n) for n in rows["n"].to_pylist()] == list(range(3000))


@needs_spark
def test_a_result_leaves_in_order_and_in_parts(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "BATCH_ROWS", 64)
    rng = np.random.default_rng(0)
    write(pa.table({"key": rng.permutation(2000), "value": rng.random(2000)}), tmp_path / "log.parquet")
    table = opened_table(spark, tmp_path / "log.parquet").order_by("key")
    batches = list(engines.stream(table, tmp_path / "sorted"))
    assert max(batch.num_rows for batch in batches) == 64
    assert pa.Table.from_batches(batches)["key"].to_pylist() == list(range(2000))


START = datetime.datetime(2026, 1, 31, 12)
TIMES = {
    "floats": [1.5, None, 1e9],
    "timestamps": [START + datetime.timedelta(microseconds=m) for m in (0, 250_000, -1)] + [None],
    "zoned": pa.array([START, None, START, START], pa.timestamp("us", "Europe/Paris")),
    "dates": [START.date(), None, datetime.date(1969, 12, 31), START.date()],
    "text": ["2026-01-31", "2026-01-31 12:00:00.75", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00+02:00", None],
    "rare text": ["2026/1/31", " 2026-01-31 12:00:00,75", "2026-01-31T12:00Z", "2026-01-31 12:00 +0200", " "],
    "numbers as text": ["1769860800", "1e3", "-5.25", None],
    "milliseconds": [1769860800123, None, 1769860800124],
    "a word": ["2026-01-31", "yesterday"],
    "no day": ["2026-01-31", "2026-02-30"],
    "two readings": ["01/02/2026", "03/04/2026"],
    "two units": ["1769860800", "1769860800123"],
    "two forms": ["2026-01-31", "1769860800"],
    "a date in digits": [20260131, 20260201],
    "infinity": [1.0, float("inf")],
}


@needs_spark
def test_times_are_the_same_seconds_on_either_engine(spark, duckdb, tmp_path):
    for kind, moments in TIMES.items():
        write(pa.table({"at": moments}), tmp_path / f"{kind}.parquet")
        duckdb_seconds, spark_seconds = (seconds_of(con, tmp_path / f"{kind}.parquet") for con in (duckdb, spark))
        assert str(duckdb_seconds) == str(spark_seconds).replace("Infinity", "inf"), kind
    for kind in ("text", "rare text"):
        seconds = seconds_of(duckdb, tmp_path / f"{kind}.parquet")
        np.testing.assert_array_equal(np.subtract(seconds[:4], seconds[0]), [0, 43200.75, 43200, 36000])
        assert seconds[4] is None


def seconds_of(con, path):
    """The times of a file in seconds, or why they are refused."""
    log = engines.numbered(opened_table(con, path).select(raw_time="at"), "position")
    log = con.create_table("log", log, overwrite=True)
    try:
        found, _ = times.with_seconds(log, Columns(time="at"))
        return engines.fetch(found.order_by("position").select("time"))["time"].to_pylist()
    except UserError as error:
        return str(error)


@needs_spark
def test_quantiles_are_the_same_on_either_engine(spark, duckdb, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    times = np.append(1.7e9 + rng.random(300) * 1e7, np.repeat(1.705e9, 100))
    write(pa.table({"time": times}), tmp_path / "log.parquet")
    monkeypatch.setattr(quantiles, "FEW", 50)
    monkeypatch.setattr(quantiles, "BUCKET_BITS", 4)
    found = [quantiles.at_shares(opened_table(con, tmp_path / "log.parquet"), (0.8, 0.33)) for con in (duckdb, spark)]
    assert found[0] == found[1]
    np.testing.assert_allclose(found[0], np.quantile(times, (0.8, 0.33)), rtol=1e-15)


@needs_spark
@pytest.mark.parametrize(
    ("csv", "words"),
    [
        ("user_id,item_id,timestamp\n1,a,yesterday\n", "'yesterday' in row 1, which is no time"),
        (
            "user_id,item_id,timestamp\n" + "1,a,1\n" * 30_000 + "1,a,tomorrow\n",
            "'tomorrow' in row 30001, which is no time",
        ),
        (
            "user_id,item_id,timestamp\n1,a,1\n1,a\n",
            "interactions.csv cannot be read in line 3: it has 2 cells, too few",
        ),
        ("who,item_id,timestamp\n1,a,1\n", "the log has no column 'user_id'"),
    ],
)
def test_a_broken_log_is_refused_in_one_sentence(spark_session, tmp_path, csv, words):
    (tmp_path / "interactions.csv").write_text(csv)
    with pytest.raises(UserError, match=words) as caught:
        artifact_of("local[2]", tmp_path / "spark", tmp_path, items="", text=())
    assert "\n" not in str(caught.value)


@needs_spark
def test_tables_of_the_same_name_stay_and_ours_go(spark_session, tmp_path):
    spark_session.sql("CREATE OR REPLACE TEMP VIEW items AS SELECT 1 AS mine")
    with engines.opened("local[2]", tmp_path) as con:
        con.create_table("items", pa.table({"theirs": [2]}))
        assert len(list(tmp_path.rglob("*.parquet"))) >= 1
    assert spark_session.sql("SELECT mine FROM items").count() == 1
    assert not list(tmp_path.rglob("*.parquet"))


def opened(engine, folder):
    with engines.opened(engine, folder):
        raise AssertionError("it was opened")


def test_a_backend_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="--data.engine no_such_engine cannot be opened"):
        opened("no_such_engine", tmp_path)


@pytest.mark.parametrize("engine", ["pyspark", "local[2]", "spark://somewhere:7077"])
def test_spark_that_is_not_installed_is_told_how(tmp_path, monkeypatch, engine):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs PySpark, which is not installed: pip install 'rexjax\[spark\]'"):
        opened(engine, tmp_path)


@pytest.mark.parametrize(
    ("home", "words"), [("", "there is none on PATH"), ("/nowhere", "JAVA_HOME=/nowhere has none")]
)
def test_spark_without_java_is_told_how(tmp_path, monkeypatch, home, words):
    monkeypatch.setattr(engines, "find_spec", lambda name: name)
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    monkeypatch.setenv("JAVA_HOME", home)
    with pytest.raises(UserError, match=f"needs Java 17 or later, and {words}"):
        opened("local[2]", tmp_path)


@pytest.mark.parametrize(
    ("url", "words"), [("spark://here", "names no port"), ("spark://{}:{}", "no Spark master answers")]
)
def test_a_master_that_does_not_answer_is_named(tmp_path, monkeypatch, url, words):
    monkeypatch.setattr(engines, "find_spec", lambda name: name)
    monkeypatch.setattr(engines.shutil, "which", lambda name: name)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()
    with pytest.raises(UserError, match=words):
        opened(url.format(*free), tmp_path)
