import jax
import numpy as np
import pytest

from rexjax.data import batches, splits
from rexjax.data.histories import USERS_PER_RECORD, Histories, concatenate
from tests.reference.data import prefix_label_pairs


def log_of(counts, seed=0, first_event=0):
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *counts]).astype(np.int64)
    valid, test = splits.leave_one_out(offsets)
    items = rng.integers(0, 10_000, offsets[-1]).astype(np.int32)
    return Histories(items, np.arange(offsets[-1], dtype=float), offsets, valid, test, first_event)


def records_of(users, seed=0):
    """A source as ``histories.source`` gives it: a sequence of dicts."""
    counts, records, first = np.random.default_rng(seed).integers(1, 20, users), [], 0
    for start in range(0, users, USERS_PER_RECORD):
        records.append(log_of(counts[start : start + USERS_PER_RECORD], seed + start, first))
        first += len(records[-1].items)
    return [{**record._asdict(), "first_event": np.int64(record.first_event)} for record in records], records


def pairs_of(batch):
    """(prefix, label, event) of all positions, read off the packed rows."""
    pairs = []
    for row in range(len(batch.items)):
        for segment in range(1, batch.segments[row].max(initial=0) + 1):
            at = np.flatnonzero(batch.segments[row] == segment)
            np.testing.assert_array_equal(at, np.arange(at[0], at[-1] + 1))
            length = batch.items.shape[1]
            np.testing.assert_array_equal(batch.positions[row, at], np.arange(length - len(at), length))
            for last in range(len(at)):
                prefix = tuple(batch.items[row, at[: last + 1]].tolist())
                pairs.append((prefix, int(batch.labels[row, at[last]]), int(batch.events[row, at[last]])))
    return sorted(pairs)


def packed(log, order, length):
    return batches.pack(log, order, length, batches.next_item(log, np.random.default_rng(0)))


def of_epoch(source, **settings):
    found = list(batches.epoch(source, **{"seed": 0, "epoch": 0, "batch": 8, "length": 6} | settings))
    return found, sorted(pair for batch in found for pair in pairs_of(batch))


@pytest.mark.parametrize(
    "counts",
    [[1], [2], [3], [4], [1, 2, 3], [3, 3, 3], [5, 1, 9, 2, 30, 4], [7, 8, 9, 10], [40], list(range(1, 30))],
)
@pytest.mark.parametrize("length", [1, 2, 6])
def test_every_prefix_of_every_training_part_is_packed_exactly_once(counts, length):
    log = log_of(counts, first_event=1000)
    order = np.random.default_rng(1).permutation(len(counts))
    batch = packed(log, order, length)
    assert pairs_of(batch) == prefix_label_pairs(log, length, shift=1000)
    padding = batch.segments == 0
    for array, fill in ((batch.items, -1), (batch.labels, -1), (batch.positions, 0), (batch.events, 0)):
        assert (array[padding] == fill).all()
    assert (batch.labels[~padding] >= 0).all()
    assert batch.items.shape[1] == length


def test_events_index_the_log_even_where_records_are_no_neighbours():
    a, b = log_of([6, 9], seed=1, first_event=0), log_of([8], seed=2, first_event=15)
    whole = np.concatenate([a.items, b.items])
    batch = packed(concatenate([b, a]), np.arange(3), 5)
    real = batch.segments > 0
    np.testing.assert_array_equal(whole[batch.events[real]], batch.items[real])
    np.testing.assert_array_equal(whole[batch.events[real] + 1], batch.labels[real])


def test_times_count_from_the_users_first_event_and_know_the_label():
    log = log_of([4, 9, 5])
    log = log._replace(times=1e9 + np.cumsum(np.random.default_rng(3).integers(0, 50, len(log.items))).astype(float))
    batch = packed(log, np.array([2, 0, 1]), 5)
    real = batch.segments > 0
    events = batch.events[real]
    first = log.offsets[np.searchsorted(log.offsets, events, side="right") - 1]
    np.testing.assert_array_equal(batch.times[real, 0], log.times[events] - log.times[first])
    np.testing.assert_array_equal(batch.times[real, 1], log.times[events + 1] - log.times[first])
    users = np.arange(3)
    asked = batches.latest_times(log, users, log.test_start, 5)
    for user, row in zip(users, asked, strict=True):
        events = np.arange(log.offsets[user], log.test_start[user] + 1)[-6:]
        np.testing.assert_array_equal(row[-len(events) :], log.times[events] - log.times[log.offsets[user]])
    far = log._replace(times=log.times * 1e9)
    assert packed(far, users, 5).times.max() == 2**31 - 1


def test_a_long_history_is_cut_into_pieces_from_its_end():
    log = log_of([15])
    batch = packed(log, np.array([0]), 5)  # twelve events have a label in the training part
    np.testing.assert_array_equal(batch.items[:2], [log.items[7:12], log.items[2:7]])
    np.testing.assert_array_equal(batch.labels[:2], [log.items[8:13], log.items[3:8]])
    np.testing.assert_array_equal(batch.items[2], [*log.items[:2], -1, -1, -1])


def test_rows_are_filled_before_a_new_one_is_begun():
    batch = packed(log_of([5, 5, 5, 5]), np.arange(4), 4)  # two pairs each
    np.testing.assert_array_equal(batch.segments, [[1, 1, 2, 2]] * 2)


@pytest.mark.parametrize("size", [1, 3, 8, 1000])
def test_an_epoch_has_constant_shapes_and_the_same_pairs_for_any_batch_size(size):
    source, records = records_of(USERS_PER_RECORD + 40)
    found, pairs = of_epoch(source, batch=size)
    assert {tuple(array.shape for array in jax.tree.leaves(batch)) for batch in found} == {
        ((size, 6),) * 5 + ((size, 6, 2),)
    }
    assert {tuple(array.dtype.name for array in jax.tree.leaves(batch)) for batch in found} == {
        ("int32",) * 4 + ("int64", "int32")
    }
    assert pairs == sorted(p for r in records for p in prefix_label_pairs(r, 6, shift=r.first_event))


def test_blocks_of_records_lose_nothing(monkeypatch):
    monkeypatch.setattr(batches, "RECORDS_PER_BLOCK", 1)
    source, records = records_of(2 * USERS_PER_RECORD + 5)
    _, pairs = of_epoch(source, batch=16)
    assert pairs == sorted(p for r in records for p in prefix_label_pairs(r, 6, shift=r.first_event))


def test_the_order_follows_seed_and_epoch_and_nothing_else():
    source, _ = records_of(60)

    def order(**settings):
        return np.concatenate([batch.events for batch in of_epoch(source, **settings)[0]])

    np.testing.assert_array_equal(order(seed=1, epoch=2), order(seed=1, epoch=2))
    rows = len(order(batch=1))
    np.testing.assert_array_equal(order(batch=1), order(batch=7)[:rows])
    assert not np.array_equal(order(seed=1), order(seed=2))
    assert not np.array_equal(order(epoch=0), order(epoch=1))
    assert not np.array_equal(order(seed=1, epoch=2), order(seed=2, epoch=1))


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("targets", batches.TARGETS)
def test_any_number_of_processes_reads_the_same_global_order(count, targets):
    source, _ = records_of(USERS_PER_RECORD + 60)
    settings = {"seed": 1, "epoch": 2, "batch": 16, "targets": targets}
    whole, _ = of_epoch(source, **settings)
    parts = [of_epoch(source, **settings, rows=rows)[0] for rows in np.split(np.arange(16), count)]
    assert len(whole) > 10 and (whole[-1].segments == 0).any()
    for batch, *shares in zip(whole, *parts, strict=True):
        for array, *pieces in zip(*map(jax.tree.leaves, (batch, *shares)), strict=True):
            assert {piece.shape[:2] for piece in pieces} == {(16 // count, 6)}
            np.testing.assert_array_equal(np.concatenate(pieces), array)


def test_without_shuffling_rows_begin_in_the_order_of_the_users():
    source, (record,) = records_of(60)
    found, _ = of_epoch(source, shuffle=False)
    begin = np.concatenate([batch.events[batch.segments[:, 0] > 0, 0] for batch in found])
    assert (np.diff(np.searchsorted(record.offsets, begin, side="right")) >= 0).all()


@pytest.mark.parametrize(
    ("users", "stops", "expected"),
    [
        ([0], [3], [[-1, 0, 1, 2]]),
        ([0], [0], [[-1, -1, -1, -1]]),
        ([1], [9], [[5, 6, 7, 8]]),
        ([1], [5], [[-1, -1, 3, 4]]),
        ([1, 0], [4, 2], [[-1, -1, -1, 3], [-1, -1, 0, 1]]),
    ],
)
def test_latest_items_before_a_moment(users, stops, expected):
    log = log_of([3, 7])._replace(items=np.arange(10, dtype=np.int32))
    found = batches.latest(log, np.array(users), np.array(stops), 4)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int32


def invoices():
    """Two users: invoices of 2, 3, 1 and 2 lines, the last one held out; and one invoice of 3 lines with no next."""
    times = np.array([1, 1, 2, 2, 2, 3, 4, 4, 9, 9, 9], float)
    items = np.arange(11, dtype=np.int32)
    return Histories(items, times, np.array([0, 8, 11]), np.array([6, 11]), np.array([8, 11]))


def test_next_time_draws_from_the_next_invoice_of_the_training_part():
    log = invoices()
    drawn = [batches.next_time(log, np.random.default_rng(seed)) for seed in range(40)]
    for targets in drawn:
        assert targets.stop.tolist() == [5, 8]  # invoice 3 has only a held-out one behind it; user 2 has no second one
    labels = np.array([targets.labels for targets in drawn])
    for event, allowed in [(0, {2, 3, 4}), (1, {2, 3, 4}), (2, {5}), (3, {5}), (4, {5})]:
        assert set(labels[:, event]) == allowed


def test_next_time_never_reaches_into_what_is_held_out():
    log = invoices()._replace(valid_start=np.array([4, 11]))  # the cut lies inside the second invoice
    drawn = [batches.next_time(log, np.random.default_rng(seed)) for seed in range(40)]
    assert {label for targets in drawn for label in targets.labels[:2]} == {2, 3}
    assert all(targets.stop.tolist() == [2, 8] for targets in drawn)


def test_histories_are_packed_with_their_next_time_labels():
    log = invoices()
    batch = batches.pack(log, np.arange(2), 8, batches.next_time(log, np.random.default_rng(0)))
    assert batch.items.tolist() == [[0, 1, 2, 3, 4, -1, -1, -1]]
    assert set(batch.labels[0, :2]) <= {2, 3, 4} and batch.labels[0, 2:].tolist() == [5, 5, 5, -1, -1, -1]
