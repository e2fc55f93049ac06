import numpy as np
import pyarrow as pa
import pytest

from rexjax.data import histories, splits
from rexjax.data.histories import USERS_PER_RECORD, Histories


def log_of(counts, rng, first_event=0):
    offsets = np.cumsum([0, *counts]).astype(np.int64)
    valid, test = splits.leave_one_out(offsets)
    return Histories(
        items=rng.integers(0, 1000, offsets[-1]).astype(np.int32),
        times=np.sort(rng.random(offsets[-1]) * 1e9),
        offsets=offsets,
        valid_start=valid.astype(np.int64),
        test_start=test.astype(np.int64),
        first_event=first_event,
        positions=rng.integers(0, 9, offsets[-1]).astype(np.float32),
        propensities=rng.random(offsets[-1], np.float32),
    )


def assert_same(a, b):
    for name in ("items", "times", "offsets", "valid_start", "test_start", "positions", "propensities"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        assert getattr(a, name).dtype == getattr(b, name).dtype, name
    np.testing.assert_array_equal(histories.log_positions(a), histories.log_positions(b))


def test_several_records_written_come_back_as_one_log(tmp_path):
    rng = np.random.default_rng(0)
    users = 2 * USERS_PER_RECORD + 10
    counts = rng.integers(1, 6, users)
    records, first = [], 0
    for start in range(0, users, USERS_PER_RECORD):
        records.append(log_of(counts[start : start + USERS_PER_RECORD], rng, first))
        first += len(records[-1].items)
    histories.write(tmp_path, iter(records))
    assert len(histories.source(tmp_path)) == 3
    for record, found in zip(records, histories.source(tmp_path), strict=True):
        assert_same(record, Histories(**found))
    read = histories.read(tmp_path)
    assert read.users == users
    assert_same(read, histories.concatenate(records))
    np.testing.assert_array_equal(np.diff(read.offsets), counts)
    np.testing.assert_array_equal(histories.log_positions(read), np.arange(counts.sum()))


def test_records_that_are_no_neighbours_keep_their_users_and_log_positions():
    rng = np.random.default_rng(1)
    a, b = log_of([3, 1], rng, first_event=0), log_of([2, 4, 5], rng, first_event=100)
    joined = histories.concatenate([b, a])
    np.testing.assert_array_equal(histories.log_positions(joined), [*range(100, 111), *range(4)])
    rows = [(record, user) for record in (b, a) for user in range(record.users)]
    for number, (record, user) in enumerate(rows):
        for start, stop in (("offsets", "valid_start"), ("valid_start", "test_start")):
            there = slice(getattr(record, start)[user], getattr(record, stop)[user])
            here = slice(getattr(joined, start)[number], getattr(joined, stop)[number])
            np.testing.assert_array_equal(joined.items[here], record.items[there])
    # joined again, positions stay those of the log
    again = histories.concatenate([joined, joined])
    np.testing.assert_array_equal(histories.log_positions(again), np.tile(histories.log_positions(joined), 2))


@pytest.mark.parametrize("size", [1, 7, USERS_PER_RECORD, 10_000])
@pytest.mark.parametrize("users", [1, USERS_PER_RECORD, USERS_PER_RECORD + 1, 3 * USERS_PER_RECORD - 1])
def test_a_stream_is_cut_between_users_whatever_its_batches(users, size):
    user = np.repeat(np.arange(users), np.random.default_rng(users).integers(1, 4, users))
    table = pa.table({"user": user, "item": np.arange(len(user))})
    batches = [table.slice(at, size).combine_chunks().to_batches()[0] for at in range(0, len(user), size)]
    empty = table.schema.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
    blocks = list(histories.split_by_user([*empty, *batches[:1], *empty, *batches[1:], *empty]))
    assert [block["user"][0] // USERS_PER_RECORD for block in blocks] == list(range(-(-users // USERS_PER_RECORD)))
    for number, block in enumerate(blocks):
        assert (block["user"] // USERS_PER_RECORD == number).all()
    np.testing.assert_array_equal(np.concatenate([block["user"] for block in blocks]), user)
    np.testing.assert_array_equal(np.concatenate([block["item"] for block in blocks]), np.arange(len(user)))


def test_an_empty_stream_has_no_blocks():
    assert list(histories.split_by_user([])) == []


def test_the_digest_is_that_of_the_log_not_of_its_records():
    rng = np.random.default_rng(0)
    a, b = log_of([3, 1, 0], rng), log_of([2, 4], rng, first_event=4)
    joined = histories.concatenate([a, b])
    whole = histories.digest([a, b])
    assert histories.digest([joined]) == whole
    for name in Histories._fields:
        changed = getattr(joined, name).copy()
        changed[0] += 1
        assert histories.digest([joined._replace(**{name: changed})]) != whole, name
    lacking = joined._replace(positions=np.zeros(0, np.float32))
    assert histories.digest([lacking]) != whole
