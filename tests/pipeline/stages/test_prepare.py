import contextlib
import dataclasses
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from rexjax.artifacts import store
from rexjax.config import Columns, Config, Data, Files, Tfds
from rexjax.data import histories
from rexjax.errors import UserError
from rexjax.pipeline.stages import inputs, prepare

RNG = np.random.default_rng(0)
ROWS = [
    (user, int(item), 1000 * step + user) for user in range(30) for step, item in enumerate(RNG.permutation(25)[:8])
]
LOG = pa.table({n: list(c) for n, c in zip(("user_id", "item_id", "timestamp"), zip(*ROWS, strict=True), strict=True)})
ITEMS = pa.table({"item_id": list(range(25)), "title": [f"Thing {n}" for n in range(25)]})
OPEN = Data(source=Files(), min_user_events=1, min_item_events=1, strict=False)


def run(tmp_path, log=LOG, catalogue=ITEMS, ending="csv", **settings):
    """Metrics, artifact and histories of one run on these tables."""
    files, folder = tmp_path / "files", tmp_path / "workdir" / "prepare"
    files.mkdir(parents=True)
    for name, table in (("interactions", log), ("items", catalogue)):
        if table is not None and ending == "csv":
            csv.write_csv(table, files / f"{name}.csv")
        elif table is not None:
            pq.write_table(table, files / f"{name}.parquet")
    data = dataclasses.replace(OPEN, **{"path": str(files)} | settings)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = prepare.run(Config(workdir=str(tmp_path / "workdir"), data=data), folder, {})
    content = metrics.pop("content")
    return metrics, store.finish(folder, "key", content=content, seconds=0, config={}, metrics=metrics)


def test_the_hash_is_that_of_the_histories_and_the_items_not_of_their_files(tmp_path):
    def hash_of(name, **change):
        return run(tmp_path / name, **change)[1].hash

    first = hash_of("a")
    assert hash_of("b", ending="parquet") == first
    later = LOG.set_column(2, "timestamp", pa.compute.add(LOG["timestamp"], 1))
    renamed = ITEMS.set_column(1, "title", [[f"Other thing {n}" for n in range(25)]])
    assert (
        len({first, hash_of("c", log=later), hash_of("d", catalogue=renamed), hash_of("e", split="global_time")}) == 4
    )


def parts(artifact):
    log = histories.read(artifact.folder)
    cuts = zip(log.offsets[:-1], log.valid_start, log.test_start, log.offsets[1:], strict=True)
    return [(int(b - a), int(c - b), int(d - c)) for a, b, c, d in cuts]


def test_the_artifact_holds_the_log_and_the_card_describes_it(tmp_path):
    card, artifact = run(tmp_path)
    expected = {"users": 30, "items": 25, "interactions": 240, "density": 240 / 750, "test_users": 30}
    expected |= {"users_without_test": 0, "train_interactions": 180, "catalogue_rows": 25, "split": "leave_one_out"}
    expected |= {"history_length": {"min": 8, "median": 8.0, "max": 8}, "time_span": {"first": 0, "last": 7029}}
    assert card | expected == card
    log = histories.read(artifact.folder)
    raw = pq.read_table(artifact.folder / "items.parquet")["item_id"].to_numpy()
    users = pq.read_table(artifact.folder / "users.parquet")["user_id"].to_numpy()
    found = zip(np.repeat(users, np.diff(log.offsets)), raw[log.items], log.times, strict=True)
    written = [(str(user), str(item), time) for user, item, time in ROWS]  # ids are text, whatever their type was
    assert sorted(found) == sorted(written)
    assert np.all(np.diff(log.times)[np.diff(np.repeat(np.arange(30), np.diff(log.offsets))) == 0] >= 0)
    assert not (artifact.folder / "scratch").exists()


def test_raw_ids_of_users_are_left_out_where_they_are_not_wanted(tmp_path):
    _, artifact = run(tmp_path, user_ids=False)
    assert not (artifact.folder / "users.parquet").exists()
    assert histories.read(artifact.folder).users == 30


def test_cold_items_are_drawn_from_those_with_interactions(tmp_path):
    unsold = pa.table({"item_id": list(range(100, 140)), "title": [f"New {n}" for n in range(40)]})
    whole = pa.concat_tables([ITEMS, unsold])
    card, artifact = run(tmp_path, catalogue=whole, split="cold_items", holdout=0.2)
    assert card["items"] == 65 and card["items_without_interactions"] == 40
    assert card["items_without_training"] == 45  # and five are held out
    assert card["test_users"] > 5


def test_times_that_mislead_are_said_when_the_log_is_read(tmp_path, capsys):
    tied = LOG.set_column(2, "timestamp", [pa.array([1_704_067_200] * 120 + [1_704_153_600] * 120)])
    card, _ = run(tmp_path, tied)
    assert len(card["notices"]) == 1 and "share their time" in card["notices"][0]
    assert card["notices"][0] in capsys.readouterr().err
    assert card["time_span"] == {"first": "2024-01-01 00:00:00", "last": "2024-01-02 00:00:00"}


def test_csv_and_parquet_give_the_same_artifact(tmp_path):
    _, a = run(tmp_path / "a", ending="csv")
    _, b = run(tmp_path / "b", ending="parquet")
    _, other = run(tmp_path / "c", ending="parquet", log=LOG.slice(1))
    assert a.hash == b.hash != other.hash


def test_cold_items_are_in_no_ones_training(tmp_path, monkeypatch):
    card, artifact = run(tmp_path / "a", split="cold_items", holdout=0.2)
    log = histories.read(artifact.folder)
    training = np.concatenate([log.items[a:b] for a, b in zip(log.offsets[:-1], log.valid_start, strict=True)])
    tests = np.concatenate([log.items[a:b] for a, b in zip(log.test_start, log.offsets[1:], strict=True)])
    held = np.concatenate([log.items[a:b] for a, b in zip(log.valid_start, log.test_start, strict=True)])
    cold = set(tests.tolist())
    assert 0 < len(cold) <= 5 and not cold & {*training.tolist(), *held.tolist()} and card["cold_targets"]["test"] > 0
    assert card["test_users"] == len(tests) and card["interactions"] == len(log.items) < 240
    warm = inputs.warm_items(artifact, 25)  # text statistics are fitted on these, and popularity knows no other
    assert (~warm).sum() == 5 and cold <= set(np.flatnonzero(~warm).tolist())
    assert inputs.popularity(log, 25)[~warm].sum() == 0
    assert inputs.warm_items(run(tmp_path / "c")[1], 25).all()
    # a user's events are still his own, in their order, and none comes after the one that tests
    raw = pq.read_table(artifact.folder / "items.parquet")["item_id"].to_numpy()
    users = pq.read_table(artifact.folder / "users.parquet")["user_id"].to_pylist()
    for user, (start, stop) in enumerate(zip(log.offsets[:-1], log.offsets[1:], strict=True)):
        own = [str(item) for owner, item, _ in sorted(ROWS, key=lambda row: row[2]) if str(owner) == users[user]]
        kept = raw[log.items[start:stop]].tolist()
        assert [item for item in own if item in kept] == kept
    monkeypatch.setattr(histories, "USERS_PER_RECORD", 7)
    _, cut = run(tmp_path / "b", split="cold_items", holdout=0.2)
    for name in ("items", "offsets", "valid_start", "test_start", "first_event"):
        np.testing.assert_array_equal(getattr(histories.read(cut.folder), name), getattr(log, name), err_msg=name)


def test_records_of_many_users_join_to_the_same_log(tmp_path, monkeypatch):
    _, whole = run(tmp_path / "a")
    monkeypatch.setattr(histories, "USERS_PER_RECORD", 7)
    _, cut = run(tmp_path / "b")
    assert len(histories.source(cut.folder)) == 5
    a, b = histories.read(whole.folder), histories.read(cut.folder)
    for name in ("items", "times", "offsets", "valid_start", "test_start", "first_event"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"split": "leave_one_out"}, [(6, 1, 1)] * 30),
        ({"split": "last_session", "columns": Columns(session="visit")}, [(4, 2, 2)] * 30),
    ],
)
def test_each_split_cuts_the_log(tmp_path, settings, expected):
    log = LOG.append_column("visit", pa.array([f"v{time // 2000}" for time in LOG["timestamp"].to_pylist()]))
    _, artifact = run(tmp_path, log, **settings)
    assert parts(artifact) == expected


def test_global_time_holds_out_the_share_it_is_told(tmp_path):
    _, artifact = run(tmp_path, split="global_time", holdout=0.25)
    train, valid, test = np.sum(parts(artifact), axis=0)
    assert (valid / 240, test / 240) == (pytest.approx(0.25, abs=0.01), pytest.approx(0.25, abs=0.01))
    log = histories.read(artifact.folder)
    user = np.repeat(np.arange(30), np.diff(log.offsets))
    place = np.arange(240)
    tested, trained = place >= log.test_start[user], place < log.valid_start[user]
    assert log.times[trained].max() < log.times[~trained].min()
    assert log.times[~tested].max() < log.times[tested].min()


@pytest.mark.parametrize(
    ("log", "settings", "words"),
    [
        (LOG.slice(0, 0), {}, "the log is empty"),
        (LOG.filter(pa.compute.less(LOG["timestamp"], 1000)), {}, "no user is left to test on .*the 30 users have 1"),
        (LOG.filter(pa.compute.less(LOG["timestamp"], 2000)), {}, "no user is left to test on"),
        (LOG.filter(pa.compute.less(LOG["timestamp"], 3000)), {}, "no user has two training interactions"),
        (LOG, {"split": "last_session"}, "--data.columns.session"),
        (LOG, {"min_rating": 3.0}, "--data.columns.rating"),
    ],
)  # fmt: skip
def test_a_log_that_teaches_nothing_is_refused_and_leaves_no_scratch(tmp_path, log, settings, words):
    with pytest.raises(UserError, match=words):
        run(tmp_path, log, ending="parquet", **settings)
    assert not (tmp_path / "workdir" / "prepare" / "scratch").exists()


def test_users_with_few_events_only_train(tmp_path):
    log = pa.concat_tables([LOG, pa.table({"user_id": [90, 91, 91], "item_id": [1, 1, 2], "timestamp": [1, 1, 2]})])
    card, artifact = run(tmp_path, log)
    assert (card["test_users"], card["users_without_test"]) == (30, 2)
    assert parts(artifact)[-2:] == [(1, 0, 0), (2, 0, 0)]


def test_a_tfds_source_is_prepared_like_a_log_that_carries_its_text(tmp_path):
    import tensorflow_datasets as tfds

    rows = [{"user_id": u, "item_id": f"i{i}", "timestamp": t, "title": f"Thing {i}"} for u, i, t in ROWS]

    class Clicks(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "clicks"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {name: np.int64 for name in ("user_id", "timestamp")}
            features |= {name: tfds.features.Text() for name in ("item_id", "title")}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {"train": enumerate(rows)}

        def _generate_examples(self):
            raise NotImplementedError

    with contextlib.redirect_stdout(io.StringIO()):
        Clicks(data_dir=str(tmp_path / "tfds"), file_format="array_record").download_and_prepare()
    tfds_card, a = run(tmp_path / "a", source=Tfds("clicks"), path=str(tmp_path / "tfds"))
    columns = {name: [row[name] for row in rows] for name in ("user_id", "item_id", "timestamp", "title")}
    card, b = run(tmp_path / "b", pa.table(columns), None, items="")
    assert a.hash == b.hash
    assert tfds_card["source"] == "clicks"
    assert tfds_card["catalogue_rows"] is card["catalogue_rows"] is None
