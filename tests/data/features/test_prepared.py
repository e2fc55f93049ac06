import numpy as np
import pandas as pd
import pytest

from rexjax.config import Config, Files
from rexjax.data import histories
from rexjax.data.features import Bag, Categorical, Numeric, prepared
from rexjax.data.frames import Dataset
from rexjax.data.packing import Packing, kept_events, pack
from rexjax.errors import UserError
from rexjax.pipeline.stages import prepare

USERS, ITEMS, EACH = 12, 10, 6
OPEN = {"min_user_events": 1, "min_item_events": 1, "strict": False}


def log():
    """Rows in no order; the price and the page of each say who and when it was."""
    rng = np.random.default_rng(0)
    rows = [
        (
            f"u{user}",
            f"i{item}",
            10 * step + 1,
            f"page {user % 3}",
            100.0 * user + step,
            ["view", "cart"][step % 2],
            step,
        )
        for user in range(USERS)
        for step, item in enumerate(rng.permutation(ITEMS)[:EACH])
    ]
    names = ["user_id", "item_id", "timestamp", "page", "spent", "kind", "number"]
    return pd.DataFrame([rows[at] for at in rng.permutation(len(rows))], columns=names)


def items():
    brands = [["acme", "zeta"][n % 2] for n in range(ITEMS)]
    tags = ["|".join(f"t{m}" for m in range(n % 4)) for n in range(ITEMS)]
    return pd.DataFrame({"item_id": [f"i{n}" for n in range(ITEMS)], "brand": brands, "tags": tags, "title": "x"})


def users():
    """Two rows a user: age rises at time 25; one row is of nobody."""
    rows = [(f"u{user}", since, 20 + 10 * user + later) for user in range(USERS) for later, since in enumerate((0, 31))]
    return pd.DataFrame([*rows, ("nobody", 0, 99)], columns=["user_id", "since", "age"])


def run(folder, dataset, **settings):
    data = dataset.write(folder / "frames", **OPEN | settings)
    metrics = prepare.run(Config(workdir="", data=data), folder, {})
    return metrics, prepared.read(folder), histories.read(folder)


@pytest.mark.parametrize("split", ["leave_one_out", "second_to_last", "cold_items"])
def test_event_features_lie_as_the_histories(tmp_path, split):
    dataset = Dataset.from_frames(
        log(), items(), context=["page", Numeric("spent", "standard")], event="kind", weight="number"
    )
    metrics, found, kept = run(tmp_path, dataset, split=split)
    owners = np.repeat(np.arange(USERS), np.diff(kept.offsets))
    names = pd.read_parquet(tmp_path / "users.parquet").sort_values("user")["user_id"].str[1:].astype(int).to_numpy()
    steps = ((kept.times - 1) / 10).astype(int)
    assert len(kept.items) == {"leave_one_out": 72, "second_to_last": 60}.get(split, len(kept.items))
    np.testing.assert_array_equal(found.arrays["weight"], steps)
    vocabulary = found.fitted["context"].features[0].vocabulary.values
    assert [vocabulary[code - 2] for code in found.arrays["page"]] == [f"page {names[user] % 3}" for user in owners]
    kinds = found.fitted["event"].features[0].vocabulary.values
    assert [kinds[code - 2] for code in found.arrays["event"]] == [["view", "cart"][step % 2] for step in steps]
    spent = found.fitted["context"].features[1]
    expected = (100.0 * names[owners] + steps - spent.mean) / spent.deviation
    np.testing.assert_allclose(found.arrays["spent"], expected, rtol=1e-5, atol=1e-6)
    trains = np.arange(len(owners)) < np.repeat(kept.valid_start, np.diff(kept.offsets))
    assert spent.mean == pytest.approx((100.0 * names[owners] + steps)[trains].mean())
    assert list(metrics["features"]) == ["page", "spent", "event", "weight"]
    cold = {"cold_items.npy"} if split == "cold_items" else set()
    assert set(metrics["content"]) == {"items.parquet", "users.parquet", "histories", "features"} | cold


@pytest.mark.parametrize("split", ["leave_one_out", "second_to_last", "cold_items"])
def test_kept_events_are_those_of_the_packed_histories(split):
    rng = np.random.default_rng(1)
    user = np.sort(rng.integers(0, 9, 60))
    block = {"user": user, "item": rng.integers(0, 12, 60), "time": np.arange(60.0), "session": np.zeros(60)}
    packing = Packing(split, cold=rng.random(12) < 0.3)
    np.testing.assert_array_equal(block["item"][kept_events(block, packing)], pack(block, packing).items)


def test_item_features_come_from_the_items_or_the_log(tmp_path):
    plan = [Categorical("brand"), Bag("tags", most=2)]
    apart = run(tmp_path / "apart", Dataset.from_frames(log(), items(), item_features=plan))[1]
    joined = log().merge(items(), on="item_id")
    within = run(tmp_path / "within", Dataset.from_frames(joined, item_features=plan, text=["title"]))[1]
    for name in ("brand", "tags"):
        np.testing.assert_array_equal(apart.arrays[name], within.arrays[name], err_msg=name)
    ids = pd.read_parquet(tmp_path / "apart" / "items.parquet").sort_values("item")["item_id"]
    brands = apart.fitted["item"].features[0].vocabulary.values
    assert [brands[code - 2] for code in apart.arrays["brand"]] == items().set_index("item_id")["brand"][ids].tolist()
    assert [(array.name, array.about, array.kind) for array in apart.described] == [
        ("brand", "item", "ids"),
        ("tags", "item", "bag"),
    ]


def test_a_user_feature_of_the_log_is_that_of_the_latest_training_row(tmp_path):
    dataset = Dataset.from_frames(log(), items(), user_features=[Numeric("spent", "standard")])
    _, found, kept = run(tmp_path, dataset)
    feature = found.fitted["user"].features[0]
    names = pd.read_parquet(tmp_path / "users.parquet").sort_values("user")["user_id"].str[1:].astype(int).to_numpy()
    values = found.arrays["spent"] * feature.deviation + feature.mean
    np.testing.assert_allclose(values, 100 * names + EACH - 3, rtol=1e-5)


@pytest.mark.parametrize("timed", [False, True])
def test_a_users_table_gives_one_row_a_user_or_the_row_before_each_event(tmp_path, timed):
    people = users() if timed else users().query("since == 0")
    dataset = Dataset.from_frames(
        log(), items(), users=people, user_features=[Numeric("age", "standard")], user_time="since" if timed else ""
    )
    _, found, kept = run(tmp_path, dataset)
    (feature,) = found.fitted["user_at" if timed else "user"].features
    names = pd.read_parquet(tmp_path / "users.parquet").sort_values("user")["user_id"].str[1:].astype(int).to_numpy()
    owners = np.repeat(names, np.diff(kept.offsets)) if timed else names
    expected = 20 + 10 * owners + (kept.times > 31 if timed else 0)
    np.testing.assert_allclose(found.arrays["age"] * feature.deviation + feature.mean, expected, rtol=1e-5)
    asked = prepared.of_requests(found.arrays, found.described, kept, np.arange(USERS), kept.test_start, 4)
    at_test = 20 + 10 * names + (1 if timed else 0)
    np.testing.assert_allclose(asked["age"] * feature.deviation + feature.mean, at_test, rtol=1e-5)


def test_requests_know_the_context_of_their_own_event_and_the_kinds_of_those_before(tmp_path):
    dataset = Dataset.from_frames(log(), items(), context=["page"], event="kind", weight="number")
    _, found, kept = run(tmp_path, dataset)
    users, length = np.array([3, 5]), 8
    asked = prepared.of_requests(found.arrays, found.described, kept, users, kept.test_start[users], length)
    assert asked["page"].tolist() == found.arrays["page"][kept.test_start[users]].tolist()
    assert asked["weight"].tolist() == [[0, 0, 0, 0, 1, 2, 3, 4]] * 2 or (asked["weight"][:, -5:] == range(5)).all()
    assert asked["event"].shape == (2, length) and asked["event"].dtype == np.int32


def test_files_carry_features_too(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name, frame in (("interactions", log()), ("items", items()), ("users", users().query("since == 0"))):
        frame.to_csv(folder / f"{name}.csv", index=False)
    described = {"user_features": [Numeric("age")], "item_features": ["brand"], "context": ["page"], "weight": "number"}
    dataset = Dataset.from_frames(log(), items(), users=users().query("since == 0"), **described)
    data = dataset.data(source=Files(), path=str(folder), users="users", **OPEN)
    prepare.run(Config(workdir="", data=data), tmp_path, {})
    expected, found = run(tmp_path / "frames", dataset)[1], prepared.read(tmp_path)
    assert list(found.arrays) == list(expected.arrays)
    for name in expected.arrays:
        np.testing.assert_array_equal(found.arrays[name], expected.arrays[name], err_msg=name)


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"context": ["where"]}, "the log has no column 'where'"),
        ({"item_features": ["colour"]}, "the frame of the items has no column 'colour'"),
        ({"context": [Numeric("page")]}, "'page .', which is no number"),
        ({"context": "page"}, r"name the feature columns as a tuple, \('page',\)"),
        ({"context": ["page"], "user_features": ["page"]}, "several features are called 'page'"),
        ({"user_features": ["age"], "users": users(), "user_time": "since_when"}, "has no column 'since_when'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, described, said):
    said = said.replace("the log has", "the frame of the log has")
    with pytest.raises(UserError, match=said):
        run(tmp_path, Dataset.from_frames(log(), items(), **described))
