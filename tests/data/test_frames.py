import datetime
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from rexjax.artifacts import store
from rexjax.config import Columns, Config, Data, Files
from rexjax.data import histories
from rexjax.data.frames import Dataset
from rexjax.errors import UserError
from rexjax.pipeline import runner
from rexjax.pipeline.stages import prepare

RNG = np.random.default_rng(0)
EVENTS = [
    (user, int(item), 1000 * step + user) for user in range(20) for step, item in enumerate(RNG.permutation(15)[:6])
]
LOG = pd.DataFrame(EVENTS, columns=["who", "sku", "at"]).assign(stars=4.5, visit="v", unused=1)
ITEMS = pd.DataFrame({"sku": range(15), "title": [f"Thing, {n}" for n in range(15)], "kind": ["a", "b", None] * 5})
NAMES = {"user": "who", "item": "sku", "time": "at"}
OPEN = {"min_user_events": 1, "min_item_events": 1, "strict": False}


def polars_frame(frame):
    polars = pytest.importorskip("polars")
    return polars.from_pandas(frame)


class Interchange:
    """A frame of a library that only speaks the older protocol."""

    def __init__(self, frame):
        self._table = pa.Table.from_pandas(frame)

    def __dataframe__(self, **how):
        return self._table.__dataframe__(**how)


KINDS = {
    "pandas": lambda frame: frame,
    "polars": polars_frame,
    "arrow": pa.Table.from_pandas,
    "arrow, in parts": lambda frame: pa.concat_tables(map(pa.Table.from_pandas, (frame[:3], frame[3:]))),
    "record batch": pa.RecordBatch.from_pandas,
    "interchange": Interchange,
}


def prepared(folder, data):
    """Metrics and artifact of stage prepare with these settings."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = prepare.run(Config(workdir="", data=data), folder, {})
    content = metrics.pop("content")
    return metrics, store.finish(folder, "key", content=content, seconds=0, config={}, metrics=metrics)


def from_files(folder, log, items, ending, **settings):
    (folder / "files").mkdir(parents=True)
    for name, frame in (("interactions", log), ("items", items)):
        if frame is not None and ending == "csv":
            frame.to_csv(folder / "files" / f"{name}.csv", index=False)
        elif frame is not None:
            frame.to_parquet(folder / "files" / f"{name}.parquet", index=False)
    names = {"source": Files(), "path": str(folder / "files"), "items": "" if items is None else "items"}
    return prepared(folder / "prepare", Data(**(OPEN | names | settings)))


def from_frames(folder, log, items=None, settings=OPEN, **names):
    return prepared(folder / "prepare", Dataset.from_frames(log, items, **(NAMES | names)).write(folder, **settings))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_frames_give_the_artifact_that_files_give(tmp_path, kind, ending):
    card, ours = from_frames(tmp_path / "a", KINDS[kind](LOG), KINDS[kind](ITEMS), category="kind")
    columns = Columns(**NAMES, category="kind")
    other_card, other = from_files(tmp_path / "b", LOG, ITEMS, ending, columns=columns)
    assert ours.hash == other.hash
    assert list(card["columns"]) == list(NAMES.values())  # of a frame, those that are named alone
    same = {"columns": card["columns"], "source": "frames", "files": []}
    assert card == other_card | same
    assert card["interactions"] == len(EVENTS)


def as_text(log):
    return log.assign(who=[f"ü{user}" for user in log["who"]], sku=[f"i{item}" for item in log["sku"]])


@pytest.mark.parametrize(
    ("log", "settings"),
    [
        (as_text(LOG), {}),
        (as_text(LOG).astype({"who": "category"}), {}),
        (LOG.astype({"at": "float64"}), {}),
        (LOG, {"split": "last_session"}),
        (LOG.assign(stars=[1.0, *5 * [5.0]] * 20), {"min_rating": 2.0}),
    ],
)
def test_ids_ratings_and_sessions_are_those_of_files(tmp_path, log, settings):
    if "split" in settings:
        log = log.assign(visit=log["at"] // 2000)
    _, ours = from_frames(tmp_path / "a", log, rating="stars", session="visit", settings=OPEN | settings)
    columns = Columns(**NAMES, rating="stars", session="visit")
    _, other = from_files(tmp_path / "b", log, None, "parquet", text=(), columns=columns, **settings)
    assert ours.hash == other.hash


def test_the_log_may_carry_the_text(tmp_path):
    log = LOG.merge(ITEMS, on="sku", how="left").sort_values(["who", "at"])
    card, ours = from_frames(tmp_path / "a", log, text=("title",), category="kind")
    _, other = from_files(tmp_path / "b", log, None, "csv", columns=Columns(**NAMES, category="kind"))
    assert ours.hash == other.hash
    assert pq.read_table(ours.folder / "items.parquet")["text"].to_pylist()[0].startswith("Thing, ")
    assert card["catalogue_rows"] is None


MOMENTS = [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(minutes=at) for _, _, at in EVENTS]
TIMES = pd.Series(pd.DatetimeIndex(MOMENTS))
SECONDS = [moment.timestamp() for moment in MOMENTS]


# pyarrow 25 asks pandas for what pandas 4 will answer otherwise
@pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")
@pytest.mark.parametrize(
    ("times", "how"),
    [
        (TIMES, {}),
        (TIMES.dt.tz_localize(None), {}),
        (TIMES.dt.tz_localize(None).astype("datetime64[ns]"), {}),
        (TIMES.dt.tz_convert("Europe/Berlin"), {}),
        (TIMES.dt.strftime("%Y-%m-%dT%H:%M:%S"), {}),
        (SECONDS, {}),
        (TIMES.dt.strftime("%d.%m.%y %H:%M"), {"time_format": "%d.%m.%y %H:%M"}),
        (TIMES.dt.strftime("%d.%m.%y %H:%M").astype("category"), {"time_format": "%d.%m.%y %H:%M"}),
        (TIMES.dt.tz_convert("Asia/Tokyo").dt.strftime("%H:%M %z, %j %Y"), {"time_format": "%H:%M %z, %j %Y"}),
    ],
)
def test_times_of_every_kind_are_seconds(tmp_path, times, how):
    _, artifact = from_frames(tmp_path, LOG.assign(at=times), **how)
    log = histories.read(artifact.folder)
    users = pq.read_table(artifact.folder / "users.parquet")["user_id"].to_numpy()
    items = pq.read_table(artifact.folder / "items.parquet")["item_id"].to_numpy()
    found = zip(np.repeat(users, np.diff(log.offsets)), items[log.items], log.times, strict=True)
    events = [(user, second, item) for (user, item, _), second in zip(EVENTS, SECONDS, strict=True)]
    assert list(found) == [(str(user), str(item), second) for user, second, item in sorted(events)]


@pytest.mark.parametrize(
    ("log", "items", "names", "words"),
    [
        (
            LOG,
            ITEMS,
            {"user": "customer", "time": "when", "text": ("title", "about")},
            "the log has no column 'customer', 'item_id', 'when' .it has 'who', .*; the frame of the "
            "items has no column 'item_id', 'about' .it has 'sku', 'title', 'kind'.: say what they are called with ",
        ),
        (LOG, None, NAMES | {"text": ("title",)}, "the log has no column 'title'"),
        (LOG, ITEMS, NAMES | {"category": "stars"}, "the items has no column 'stars'"),
        (LOG, ITEMS, NAMES | {"text": "title"}, r"text='title' is one string: .* \('title',\)"),
        (EVENTS, None, NAMES, "the log is a list: pass a data frame"),
        (LOG, "items.csv", NAMES, "the items is a str: pass a data frame"),
        (
            LOG.assign(who=[1, "one"] * (len(LOG) // 2)),
            None,
            NAMES,
            "the log cannot be read as an Arrow table .*column who",
        ),
        (pd.concat([LOG, LOG], axis=1), None, NAMES, "the log cannot be read as an Arrow table .*Duplicate"),
        (LOG, None, NAMES | {"time_format": "%Y"}, "time_format='%Y' reads text, and column 'at' is int64"),
        (
            LOG.assign(at=["2024", "soon"] * (len(LOG) // 2)),
            None,
            NAMES | {"time_format": "%Y"},
            "column 'at' of the log holds 'soon', which is not of time_format='%Y'",
        ),
    ],
)
def test_frames_that_do_not_fit_are_refused_in_one_sentence(log, items, names, words):
    with pytest.raises(UserError, match=words) as caught:
        Dataset.from_frames(log, items, **names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("null", [False, True])
def test_a_time_that_is_nan_or_null_is_missing_and_counted(tmp_path, null):
    times = [float("nan"), *LOG["at"][1:].astype(float)]
    table = pa.Table.from_pandas(LOG).set_column(2, "at", pa.array(times, pa.float64(), from_pandas=null))
    card, _ = from_frames(tmp_path, table)
    assert card["cleaning"][1] | {"removed": 1, "interactions": len(LOG) - 1} == card["cleaning"][1]


def test_durations_are_refused(tmp_path):
    times = pa.array(LOG["at"], pa.duration("s"))
    table = pa.Table.from_pandas(LOG).set_column(2, "at", times)
    with pytest.raises(UserError, match=r"has durations in 'at' \(duration\[s\]\), .*numbers of seconds"):
        from_frames(tmp_path, table)


def test_an_empty_log_is_an_error_of_prepare(tmp_path):
    with pytest.raises(UserError, match="the log is empty"):
        from_frames(tmp_path, LOG[:0])


def test_file_names_and_the_identity_of_the_stage_follow_the_content(tmp_path):
    dataset = Dataset.from_frames(LOG, ITEMS, **NAMES)
    data = dataset.write(tmp_path / "frames", **OPEN)
    assert dataset.write(str(tmp_path / "frames"), **OPEN) == data
    assert Dataset.from_frames(LOG.assign(unused=2), ITEMS, **NAMES).write(tmp_path / "frames", **OPEN) == data
    other = Dataset.from_frames(LOG.assign(at=LOG["at"] + 1), ITEMS, **NAMES).write(tmp_path / "frames", **OPEN)
    assert (data.source.items == other.source.items) and (data.source.log != other.source.log)
    files = {path.name for path in (tmp_path / "frames").iterdir()}
    assert files == {data.source.log, data.source.items, other.source.log}
    skipped = []
    for settings in (data, data, other):
        config = Config(workdir=str(tmp_path / "workdir"), data=settings)
        skipped += [outcome.skipped for outcome in runner.run(config, ("prepare",), update=True, say=str)]
    assert skipped == [False, True, False]


@pytest.mark.parametrize(
    ("items", "names", "text", "file"),
    [
        (ITEMS, {}, ("title",), "items"),
        (ITEMS, {"text": ["kind", "title"]}, ("kind", "title"), "items"),
        (ITEMS, {"text": ()}, (), "items"),
        (None, {}, (), ""),
    ],
)
def test_the_settings_describe_the_frames(items, names, text, file):
    data = Dataset.from_frames(LOG, items, **NAMES, **names).data(length=7)
    assert (data.columns, data.text, data.items, data.length) == (Columns(**NAMES), text, file, 7)


def test_arrow_frames_need_neither_pandas_nor_polars(tmp_path):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('pandas', 'polars'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import pyarrow as pa\n"
        "from rexjax.data.frames import Dataset\n"
        "dataset = Dataset.from_frames(pa.table({'user_id': [1], 'item_id': [2], 'timestamp': [3]}))\n"
        f"print(dataset.write({str(tmp_path)!r}).source.log)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (tmp_path / done.stdout.strip()).is_file()
