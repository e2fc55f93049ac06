import contextlib
import dataclasses
import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from rexjax.artifacts import store
from rexjax.cli import main as cli
from rexjax.config import Data, Files, Frames, Shop, Tfds
from rexjax.data import engines, tfds_export
from rexjax.errors import UserError

LOG = pa.table({"user_id": [1, 1, 2], "item_id": ["a", "b", "a"], "timestamp": [3, 4, 5]})
ITEMS = pa.table({"item_id": ["a", "b"], "title": ["Lamp, brass", 'A "rug"']})
TINY = Shop(users=60, items=40, interactions=600, days=30)


@pytest.fixture
def con(tmp_path):
    with engines.opened("duckdb", tmp_path / "spill") as con:
        yield con


def read(con, tmp_path, **settings):
    data = Data(**settings)
    log, items, *_ = data.source.read(data, 0, con, tmp_path / "scratch")
    return con.to_pyarrow(log).to_pydict(), None if items is None else con.to_pyarrow(items).to_pydict()


def write(table, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return
    options = pa.csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
    with pa.output_stream(path, compression="gzip" if path.suffix == ".gz" else None) as file:
        pa.csv.write_csv(table, file, options)


def as_read(table, ending):
    """CSV is read as text; Parquet keeps its types."""
    if ending == ".parquet":
        return table.to_pydict()
    return {name: [str(value) for value in column] for name, column in table.to_pydict().items()}


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".tsv"])
@pytest.mark.parametrize("spelt", [True, False])
def test_files_of_every_ending_hold_the_same_table(con, tmp_path, ending, spelt):
    write(LOG, tmp_path / f"log{ending}")
    write(ITEMS, tmp_path / f"items{ending}")
    name = f"log{ending}" if spelt else "log"
    log, items = read(con, tmp_path, source=Files(), path=str(tmp_path), interactions=name)
    assert log == as_read(LOG, ending)
    assert items == as_read(ITEMS, ending)


def test_a_folder_of_parquet_parts_is_one_table(con, tmp_path):
    write(LOG.slice(0, 2), tmp_path / "interactions" / "part-0.parquet")
    write(LOG.slice(2), tmp_path / "interactions" / "part-1.parquet")
    log, items = read(con, tmp_path, source=Files(), path=str(tmp_path), items="")
    assert log == LOG.to_pydict()
    assert items is None


@pytest.mark.parametrize(
    ("files", "settings", "words"),
    [
        ({}, {"path": "nowhere"}, "no folder '.*nowhere': pass --data.path"),
        ({}, {}, "no file interactions in .*: expected interactions.parquet, interactions.csv or another of"),
        ({"interactions.csv": b"a,b\n1,2\n"}, {}, "no file items in "),
        ({"interactions.parquet": b"PAR1 cut off"}, {"items": ""}, "interactions.parquet cannot be read as Parquet"),
        ({"interactions/readme.txt": b"no parts"}, {"items": ""}, "it holds no part that ends in"),
    ],
)
def test_files_that_are_not_there_or_unreadable_are_named(con, tmp_path, files, settings, words):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    path = str(tmp_path / settings.pop("path", ""))
    with pytest.raises(UserError, match=words) as caught:
        read(con, tmp_path, source=Files(), path=path, **settings)
    assert "\n" not in str(caught.value)


def test_the_shop_is_written_and_read(con, tmp_path):
    log, items = read(con, tmp_path, source=TINY)
    assert len(log["user_id"]) == TINY.interactions
    assert len(items["title"]) == TINY.items


def test_external_files_are_those_that_will_be_read(tmp_path):
    write(LOG, tmp_path / "interactions.csv")
    write(ITEMS, tmp_path / "items.parquet")
    data = Data(source=Files(), path=str(tmp_path))
    log, items = tmp_path / "interactions.csv", tmp_path / "items.parquet"
    assert data.source.external_files(data) == [log, items]
    assert data.source.external_files(dataclasses.replace(data, items="")) == [log]
    assert Frames(str(tmp_path), log.name, items.name).external_files(data) == [log, items]
    assert Frames(str(tmp_path), log.name).external_files(data) == [log]
    assert Shop().external_files(data) == Tfds("tiny_clicks").external_files(data) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Frames(), "lie in no folder yet: take the settings that Dataset.write"),
        (Frames("nowhere", "log.parquet"), "no file nowhere/log.parquet: write the data frames again"),
    ],
)
def test_frames_that_were_not_written_are_named(source, words):
    with pytest.raises(UserError, match=words):
        source.external_files(Data())


@pytest.mark.parametrize(
    ("source", "name", "sizes"),
    [
        (TINY, "shop", {"users": 60, "items": 40, "interactions": 600}),
        (Files(), "files", {}),
        (Tfds("movielens/1m-ratings"), "movielens/1m-ratings", {}),
    ],
)
def test_a_source_has_a_name_and_perhaps_sizes(source, name, sizes):
    assert (source.name(), source.sizes()) == (name, sizes)


OWN = """
from dataclasses import dataclass
import ibis, pyarrow as pa
from rexjax.config import Config, Data, Source

@dataclass(frozen=True)
class Ring(Source):
    users: int = 4
    def read(self, data, seed, con, scratch):
        rows = [(f"u{u}", f"i{(u + t) % 5}", t) for u in range(self.users) for t in range(4)]
        names = ("user_id", "item_id", "timestamp")
        return con.create_table("ring", pa.table(dict(zip(names, zip(*rows))))), None

def get_config():
    return Config(WORKDIR, data=Data(source=Ring(), text=(), min_user_events=1, min_item_events=1))
"""


def test_a_source_may_be_defined_in_the_config_file(tmp_path):
    (tmp_path / "ring.py").write_text(OWN.replace("WORKDIR", repr(str(tmp_path / "workdir"))))
    flags = ("--data.source.users", "7")
    cli.main(["prepare", str(tmp_path / "ring.py"), *flags])
    manifest = store.read(tmp_path / "workdir" / "prepare").manifest
    recorded = manifest["config"]["data"]["source"]
    assert re.fullmatch(r"ring\.py@[0-9a-f]{16}:Ring", recorded.pop("class"))
    assert recorded == {"users": 7}
    expected = {"source": "ring", "users": 7, "items": 5, "interactions": 28}
    assert manifest["metrics"] | expected == manifest["metrics"]


def prepare_tfds(folder, rows):
    """A real TFDS data set ``tiny_clicks/1.0.0`` in ``folder``, in ArrayRecord files."""
    import tensorflow_datasets as tfds

    class TinyClicks(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "tiny_clicks"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"user": tfds.features.Text(), "item": tfds.features.Text(), "when": np.int64}
            features |= {"title": tfds.features.Text(), "stars": np.float32}
            features = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {"train": enumerate(rows)}

        def _generate_examples(self):
            raise NotImplementedError

    with contextlib.redirect_stdout(io.StringIO()):
        TinyClicks(data_dir=str(folder), file_format="array_record").download_and_prepare()


def test_a_tfds_data_set_is_read_in_parts(con, tmp_path, monkeypatch):
    rows = [
        {"user": f"u{n % 3}", "item": f"i{n % 5}", "when": n, "title": f"Lämp {n % 5}", "stars": n / 2}
        for n in range(10)
    ]
    prepare_tfds(tmp_path, rows)
    monkeypatch.setattr(tfds_export, "ROWS_PER_FILE", 4)
    log, items = read(con, tmp_path, source=Tfds("tiny_clicks"), path=str(tmp_path))
    assert items is None
    parts = sorted(path.name for path in (tmp_path / "scratch" / "tfds").iterdir())
    assert parts == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert log == {name: [row[name] for row in rows] for name in log}
    assert log.keys() == rows[0].keys()


def test_a_tfds_builder_that_is_not_there_is_named(con, tmp_path):
    with pytest.raises(
        UserError, match="TFDS builder 'no_such_set' cannot be prepared .*source=Files\\(\\) and --data.path"
    ):
        read(con, tmp_path, source=Tfds("no_such_set"), path=str(tmp_path))
