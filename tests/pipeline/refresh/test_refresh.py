"""A small shop whose log grows: a run, a refresh of it, and a refresh of the refresh."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from rexjax.artifacts import store
from rexjax.config import (
    Blend,
    Compress,
    Config,
    Data,
    Ease,
    Evaluate,
    Files,
    Mesh,
    Pooled,
    Popularity,
    Shop,
    Student,
    Training,
    Transformer,
)
from rexjax.data import histories, shop
from rexjax.errors import UserError
from rexjax.evaluation import Margins
from rexjax.pipeline import runner
from rexjax.pipeline.refresh import offer as offers
from rexjax.pipeline.refresh.refresh import refresh
from rexjax.registry import Registry

DAY = 86_400
SHOP = Shop(users=150, items=60, interactions=3000, days=40)
FEW = Training(epochs=2, batch=8, warmup=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    shop.write(SHOP, 0, folder)
    return pq.read_table(folder / "interactions"), pq.read_table(folder / "items.parquet")


def write_until(folder, whole, day: int) -> None:
    """The log up to a day; items come into the file on the day of their first event."""
    log, items = whole
    known = log.filter(pc.less(log["timestamp"], shop.START + day * DAY))
    folder.mkdir(exist_ok=True)
    pq.write_table(known.select(["user_id", "item_id", "timestamp"]), folder / "interactions.parquet")
    names = known["item_id"].cast(pa.string())
    pq.write_table(
        items.filter(pc.is_in(items["item_id"], names)).select(["item_id", "title"]), folder / "items.parquet"
    )


def make_config(folder, workdir) -> Config:
    data = Data(
        source=Files(),
        path=str(folder),
        text=(),
        strict=False,
        min_user_events=2,
        min_item_events=1,
        length=12,
        split="global_time",
    )
    return Config(
        str(workdir),
        data=data,
        mesh=Mesh(data=1),
        teacher=Blend((Ease(l2=20.0), Transformer(width=8, layers=1, training=FEW)), weights=(0.6, 0.4)),
        student=Student(Pooled(width=8, hidden=8, training=FEW), top_k=5),
        compress=Compress(("int8",), training=FEW),
        baselines=(Popularity(),),
        evaluate=Evaluate(k=(1, 5), resamples=50, latency_repeats=3),
    )


@pytest.fixture(scope="module")
def first(whole, tmp_path_factory):
    """A folder with a finished run of the first 30 days."""
    folder = tmp_path_factory.mktemp("runs")
    write_until(folder / "log", whole, 30)
    config = make_config(folder / "log", folder / "monday")
    runner.run(config, tuple(runner.stages_of(config)), update=False, say=print)
    return folder


@pytest.fixture(scope="module")
def second(first, whole):
    """The same, refreshed ten days later."""
    write_until(first / "log", whole, 40)
    refreshed = refresh(make_config(first / "log", first / "tuesday"), first / "monday", days=3, say=print)
    return first, refreshed


def parts(folder, workdir):
    artifact = store.read(folder / workdir / "prepare")
    items = pq.read_table(artifact.folder / "items.parquet")["item_id"].to_pylist()
    users = pq.read_table(artifact.folder / "users.parquet")["user_id"].to_pylist()
    return artifact, histories.read(artifact.folder), items, users


def test_dense_ids_stay_and_new_ones_follow(second):
    (_, _, items, users), (_, log, more_items, more_users) = (parts(second[0], day) for day in ("monday", "tuesday"))
    assert more_items[: len(items)] == items and len(more_items) > len(items)
    assert more_users[: len(users)] == users
    assert log.users == len(more_users) and log.items.max() < len(more_items)


def test_the_histories_hold_all_events_of_the_log_once(second, whole):
    _, log, items, users = parts(second[0], "tuesday")
    found = {
        (users[user], items[item], time)
        for user in range(log.users)
        for item, time in zip(
            log.items[log.offsets[user] : log.offsets[user + 1]],
            log.times[log.offsets[user] : log.offsets[user + 1]],
            strict=True,
        )
    }
    rows = whole[0].sort_by("timestamp").to_pylist()
    expected = {}
    for row in rows:  # the first of repeats
        expected.setdefault((str(row["user_id"]), row["item_id"]), float(row["timestamp"]))
    known = set(users)
    assert found == {(*pair, time) for pair, time in expected.items() if pair[0] in known}
    assert len(found) == len(log.items)


def test_the_test_lies_on_days_that_neither_has_seen(second):
    (_, before, _, _), (artifact, after, _, _) = (parts(second[0], day) for day in ("monday", "tuesday"))
    facts = artifact.metrics["refresh"]
    valid, test = facts["cuts"]
    assert before.times.max() == facts["watermark"] < valid < test < after.times.max() == facts["newest"]
    owners = np.repeat(np.arange(after.users), np.diff(after.offsets))
    tests = np.arange(len(after.items)) >= after.test_start[owners]
    np.testing.assert_array_equal(tests, after.times >= test)


def test_champion_and_challenger_are_compared(second):
    folder, refreshed = second
    evaluated = store.read(folder / "tuesday" / "evaluate").metrics
    assert {"champion", "student_int8", "teacher"} <= evaluated["models"].keys()
    assert refreshed.comparison.b.startswith("champion") and refreshed.comparison.found.difference is not None
    forgotten = store.read(folder / "tuesday" / "forgetting").metrics
    assert 0 < forgotten["champion"] < 1 and 0 < forgotten["challenger"] < 1


def test_the_same_call_again_skips_every_stage(second):
    folder, _ = second
    again = refresh(make_config(folder / "log", folder / "tuesday"), folder / "monday", days=3, say=print)
    assert all(outcome.skipped for outcome in again.outcomes)


def test_a_log_without_news_is_refused(second):
    folder, _ = second
    with pytest.raises(UserError, match="no event is later than the watermark 2024-"):
        refresh(make_config(folder / "log", folder / "wednesday"), folder / "tuesday", say=print)


def test_what_cannot_be_refreshed_is_refused(second):
    folder, _ = second
    config = make_config(folder / "log", folder / "other")
    with pytest.raises(UserError, match="needs a workdir of its own"):
        refresh(config, folder / "other")
    with pytest.raises(UserError, match=r"made with another config \(teacher"):
        refresh(replace(config, teacher=Ease()), folder / "monday")
    with pytest.raises(UserError, match="no workdir"):
        refresh(config, folder / "nowhere")


def test_a_schema_that_changed_is_refused_with_its_columns(second, whole, tmp_path):
    folder, _ = second
    write_until(tmp_path / "log", whole, 40)
    path = tmp_path / "log" / "interactions.parquet"
    log = pq.read_table(path)
    pq.write_table(log.set_column(0, "user_id", log["user_id"].cast(pa.string())), path)
    with pytest.raises(UserError, match=r"schema of the log changed .* other types in user_id \(int64, now string\)"):
        refresh(make_config(tmp_path / "log", tmp_path / "new"), folder / "monday", say=print)


def test_a_refresh_is_refreshed_and_late_events_are_counted(second):
    """The third run's log holds two more days, and an event that should have come before."""
    folder, _ = second
    log = pq.read_table(folder / "log" / "interactions.parquet")
    _, known, items, users = parts(folder, "tuesday")
    bought = [set(known.items[a:b].tolist()) for a, b in zip(known.offsets[:-1], known.offsets[1:], strict=True)]
    last, rows = int(known.times.max()), []
    for user in range(60):
        fresh = [item for item in range(len(items)) if item not in bought[user]][:4]
        rows += [
            (int(users[user]), items[item], last + (1 + step) * DAY // 2 + user) for step, item in enumerate(fresh)
        ]
    late = next(item for item in range(len(items)) if item not in bought[60])
    rows.append((int(users[60]), items[late], last - 5 * DAY))
    columns = {name: list(column) for name, column in zip(log.column_names, zip(*rows, strict=True), strict=True)}
    (folder / "later").mkdir()
    pq.write_table(pa.concat_tables([log, pa.table(columns).cast(log.schema)]), folder / "later/interactions.parquet")
    (folder / "later" / "items.parquet").write_bytes((folder / "log" / "items.parquet").read_bytes())
    found = refresh(make_config(folder / "later", folder / "thursday"), folder / "tuesday", days=0.5, say=print)
    artifact, after, more_items, more_users = parts(folder, "thursday")
    facts = artifact.metrics["refresh"]
    assert (facts["new"], facts["late"]) == (240, 1) and len(after.items) == len(known.items) + 240
    assert (more_items, more_users) == (items, users)
    assert found.comparison.found.difference is not None


def test_a_registry_promotes_it_if_its_gate_lets_it_pass(second, tmp_path):
    folder, refreshed = second
    registry = offers.registry_of(tmp_path / "registry", refreshed.config, folder / "monday")
    first = registry.champion
    assert offers.champion_workdir(registry) == folder / "monday"
    strict = offers.offer(registry, folder / "tuesday", Margins(quality=1e-9, segment=1e-9))
    if not strict.decision.promote:  # equal models pass no gate without a margin
        assert registry.champion.id == first.id and registry.challenger.id == strict.challenger
    lenient = Margins(quality=9.0, segment=9.0, cost=9.0, calibration=1.0, coverage=1.0)
    for _ in range(2):  # the second call finds it done
        found = offers.offer(registry, folder / "tuesday", lenient)
        assert found.decision.promote and found.champion == first.id
        assert registry.champion.id == found.challenger and registry.champion.parent == first.id
    assert len(registry.versions()) == 2
    assert "quality" in found.decision.numbers and found.decision.numbers["cost"]["passed"]
    with pytest.raises(UserError, match="refresh the champion"):
        offers.registry_of(tmp_path / "registry", refreshed.config, folder / "monday")


def test_a_registry_without_champion_names_what_is_missing(tmp_path, second):
    registry = Registry.create(tmp_path / "empty", second[1].config)
    with pytest.raises(UserError, match="has no champion"):
        offers.champion_workdir(registry)
