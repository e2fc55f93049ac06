import numpy as np
import pyarrow as pa
import pytest

from rexjax.config import Columns, Config, Data, Evaluate, Files, Shop
from rexjax.data import packing
from rexjax.errors import UserError
from tests.data.cleaning import run

SHOWN = Columns(position="slot", propensity="p")
ROWS = [(f"u{user}", f"i{item}", 100 * user + item, item, (item + 1) / 8) for user in range(2) for item in range(6)]


def log(**change):
    columns = dict(
        zip(("user_id", "item_id", "timestamp", "slot", "p"), map(list, zip(*ROWS, strict=True)), strict=True)
    )
    return pa.table(columns | change)


def block_of(found, con):
    return {name: column.to_numpy() for name, column in zip(found.log.columns, con.to_pyarrow(found.log), strict=True)}


@pytest.mark.parametrize(
    "split, held", [("leave_one_out", []), ("second_to_last", [5]), ("global_time", []), ("cold_items", [2, 4, 5])]
)
def test_both_stay_beside_their_events_whatever_the_split(split, held):
    found, con = run(log(), columns=SHOWN, split=split, holdout=0.2)
    items = np.asarray(con.to_pyarrow(found.items)["item_id"].to_pylist())
    cold = np.isin(items, ["i2"]) if split == "cold_items" else None
    record = packing.pack(block_of(found, con), packing.Packing(split, found.cuts, cold))
    assert len(record.items) == len(record.positions) == len(record.propensities)
    slots = np.char.replace(items[record.items], "i", "").astype(np.float32)
    np.testing.assert_array_equal(record.positions, slots)
    np.testing.assert_array_equal(record.propensities, (slots + 1) / 8)
    if split != "cold_items":
        assert len(record.items) == 12 - 2 * len(held)


def test_without_them_the_log_has_neither():
    found, con = run(log())
    record = packing.pack(block_of(found, con), packing.Packing("leave_one_out"))
    assert record.positions.shape == record.propensities.shape == (0,)


def test_text_is_read_as_numbers():
    found, con = run(log(p=["0.5", *["1"] * 11]), columns=SHOWN)
    assert con.to_pyarrow(found.log)["propensity"].to_pylist() == [0.5, *[1.0] * 11]


@pytest.mark.parametrize(
    "name, values, sentence",
    [
        ("p", [1.0] * 3 + [0.0] * 9, "'p' of the log holds 0 in row 4, and a propensity is above 0 and at most 1"),
        ("p", [1.0] * 5 + [1.5] * 7, "'p' of the log holds 1.5 in row 6"),
        ("p", [None] + [1.0] * 11, "'p' of the log holds nothing in row 1"),
        ("p", ["much"] * 12, "'p' of the log holds 'much' in row 1, which is no number"),
        ("slot", [-1] * 12, "'slot' of the log holds -1 in row 1, and a position is 0 or more"),
    ],
)
def test_what_is_neither_is_refused(name, values, sentence):
    with pytest.raises(UserError, match=sentence):
        run(log(**{name: values}), columns=SHOWN)


@pytest.mark.parametrize("key", ["position", "propensity"])
def test_a_column_that_is_not_there_is_named_with_its_flag(key):
    with pytest.raises(UserError, match=f"no column 'x'.*--data.columns.{key}"):
        run(log(), columns=Columns(**{key: "x"}))


def test_the_shop_knows_both_and_a_log_that_does_not_is_refused_a_clipping_weight():
    assert Shop().described(Columns(position="slot")) == Columns(position="slot", propensity="propensity")
    Config(workdir="x", evaluate=Evaluate(largest_weight=10))
    files = Data(source=Files(), path="x")
    with pytest.raises(UserError, match="largest_weight=10 clips .*the log has no propensities.*columns.propensity"):
        Config(workdir="x", data=files, evaluate=Evaluate(largest_weight=10))
    with pytest.raises(UserError, match="largest_weight=0.5: set it to 1 or more"):
        Evaluate(largest_weight=0.5)
