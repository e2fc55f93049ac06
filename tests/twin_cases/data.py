"""Packing, cuts, cleaning and quantiles."""

import ibis
import numpy as np
import pyarrow as pa

from rexjax.config import Data
from rexjax.data import batches
from rexjax.data.features.as_of import Changes
from tests.twin_cases import case, histories


@case("data.batches:pack")
def compare_pack(fast, twin, rng):
    log = histories(rng)
    packed = fast(log, rng.permutation(log.users), 4, batches.next_item(log, rng))
    pairs = []
    for row, column in np.argwhere(packed.segments > 0):
        own = packed.segments[row, : column + 1] == packed.segments[row, column]
        prefix = tuple(packed.items[row, : column + 1][own].tolist())
        pairs.append((prefix, int(packed.labels[row, column]), int(packed.events[row, column])))
    assert sorted(pairs) == twin(log, 4)


@case("data.batches:latest", "data.batches:latest_times")
def compare_latest(fast, twin, rng):
    log = histories(rng)
    users = np.flatnonzero(log.test_start < log.offsets[1:])
    np.testing.assert_array_equal(
        fast(log, users, log.test_start[users], 4), twin(log, users, log.test_start[users], 4)
    )


@case("data.batches:next_time")
def compare_next_time(fast, twin, rng):
    log = histories(rng)
    allowed = twin(log)
    for _ in range(20):
        found = fast(log, rng)
        for user in range(log.users):
            for event in range(log.offsets[user], log.valid_start[user]):
                events, has_label = allowed[event]
                assert (event < found.stop[user]) == has_label
                assert not has_label or found.labels[event] in events


@case("data.interactions:clean")
def compare_clean(fast, twin, rng):
    pairs = sorted({(int(u), int(i)) for u, i in zip(rng.zipf(1.3, 300) % 30, rng.zipf(1.2, 300) % 20, strict=True)})
    columns = {"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs], "timestamp": range(len(pairs))}
    con = ibis.duckdb.connect()
    log = con.create_table("log", pa.table({name: list(column) for name, column in columns.items()}))
    settings = {"source": "files", "items": "", "text": (), "min_user_events": 3, "min_item_events": 3}
    found = fast(log, None, Data(**settings))
    users = con.to_pyarrow(found.users)["user_id"].to_pylist()
    items = con.to_pyarrow(found.items)["item_id"].to_pylist()
    kept = [(users[row["user"]], items[row["item"]]) for row in con.to_pyarrow(found.log).to_pylist()]
    assert sorted(kept) == sorted((str(user), str(item)) for user, item in twin(pairs, 3, 3)) != []


@case("data.quantiles:at_shares")
def compare_quantiles(fast, twin, rng):
    times, shares = 1.7e9 + rng.random(500), (0.0, 0.33, 0.8, 1.0)
    log = ibis.duckdb.connect().create_table("log", pa.table({"time": times}))
    np.testing.assert_allclose(fast(log, shares), twin(times, shares), rtol=1e-15)


@case("data.splits:leave_one_out")
def compare_leave_one_out(fast, twin, rng):
    log = histories(rng)
    assert list(zip(*fast(log.offsets), strict=True)) == twin(log.offsets)


@case("data.splits:global_time")
def compare_global_time(fast, twin, rng):
    log = histories(rng)
    assert list(zip(*fast(log.offsets, log.times, 2, 4), strict=True)) == twin(log.offsets, log.times, 2, 4)


@case("data.splits:last_session", "data.splits:last_validates")
def compare_last(fast, twin, rng):
    log = histories(rng)
    about = log.times.astype(int) if fast.function.__name__ == "last_session" else rng.random(log.users) < 0.5
    assert list(zip(*fast(log.offsets, about), strict=True)) == twin(log.offsets, about)


@case("data.splits:without_cold")
def compare_without_cold(fast, twin, rng):
    log = histories(rng)
    users, cold = np.repeat(np.arange(log.users), np.diff(log.offsets)), rng.random(15) < 0.3
    np.testing.assert_array_equal(fast(users, log.items, cold), twin(users, log.items, cold))


@case("data.features.as_of:join")
def compare_as_of(fast, twin, rng):
    users, times = rng.integers(0, 6, 50), rng.integers(0, 10, 50).astype(float)
    changes = Changes(rng.integers(0, 6, 30), rng.integers(0, 10, 30).astype(float))
    np.testing.assert_array_equal(fast(users, times, changes), twin(users, times, list(zip(*changes, strict=True))))
