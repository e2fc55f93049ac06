import numpy as np
import pytest

from rexjax.data import card, splits
from rexjax.data.histories import Histories
from rexjax.data.settings import Data


@pytest.mark.parametrize("cuts", [[], [2], [1, 2, 30], [57]])
@pytest.mark.parametrize("users", [58, 59])
def test_counts_are_those_of_the_whole_log_however_it_is_cut(cuts, users):
    rng = np.random.default_rng(users)
    lengths = rng.integers(1, 12, users)
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    valid, test = splits.leave_one_out(offsets)
    items, times = rng.zipf(1.5, offsets[-1]).astype(np.int32) % 40, np.zeros(offsets[-1])
    records = []
    for start, stop in zip([0, *cuts], [*cuts, users], strict=True):
        first, last = offsets[start], offsets[stop]
        cut = (offsets[start : stop + 1] - first, valid[start:stop] - first, test[start:stop] - first)
        records.append(Histories(items[first:last], times[first:last], *cut))
    steps = [{"users": users, "items": 40}]
    found = card.describe(records, steps, {"first": 1, "last": 2}, Data())
    parts = [
        [items[a:b] for a, b in zip(start, stop, strict=True)]
        for start, stop in ((offsets[:-1], valid), (valid, test), (test, offsets[1:]))
    ]
    trained, validated, tested = (np.concatenate(part) for part in parts)
    assert found["history_length"] == {"min": lengths.min(), "median": np.median(lengths), "max": lengths.max()}
    assert found["interactions"] == lengths.sum() and found["train_interactions"] == len(trained)
    assert found["test_users"] == (lengths >= 3).sum() == users - found["users_without_test"]
    cold = {name: int((~np.isin(part, trained)).sum()) for name, part in (("valid", validated), ("test", tested))}
    assert found["cold_targets"] == cold
