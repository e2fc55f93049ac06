import numpy as np
import pytest

from rexjax.data import card, splits
from rexjax.data.histories import Histories
from rexjax.data.settings import Data
from rexjax.errors import UserError


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
    steps = [{"users": users, "items": 30}]
    found = card.describe(records, steps, card.Span(1, 2, 3), Data(), [f"Thing {n}" for n in range(40)])
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
    assert found["items"] == 40 and found["density"] == lengths.sum() / (users * 40)
    assert found["items_without_training"] == 40 - len(np.unique(trained))
    assert [history["interactions"] for history in found["histories"]] == lengths[:3].tolist()


def test_the_first_histories_are_shown_with_titles_and_dates_and_no_ids():
    offsets = np.cumsum([0, 10, 3, 3, 3])
    valid, test = splits.leave_one_out(offsets)
    moments = 1_704_067_200 + 86_400.0 * np.arange(19)
    record = Histories(np.arange(19, dtype=np.int32), moments, offsets, valid, test)
    span = card.Span(moments[0], moments[-1], moments[-1])
    steps = [{"users": 4, "items": 19}]
    found = card.describe([record], steps, span, Data(), [f"Thing {n}" for n in range(19)])
    assert [history["user"] for history in found["histories"]] == ["user 1", "user 2", "user 3"]
    first, second, _ = found["histories"]
    assert first["interactions"] == 10 and len(first["latest"]) == 8
    assert second["latest"] == [
        "2024-01-11 00:00:00 Thing 10",
        "2024-01-12 00:00:00 Thing 11 (validates)",
        "2024-01-13 00:00:00 Thing 12 (tests)",
    ]


@pytest.mark.parametrize(
    ("split", "counts"), [("leave_one_out", "all events"), ("global_time", "events before the cut")]
)
def test_the_card_says_which_events_the_core_counts(split, counts):
    record = Histories(np.zeros(4, np.int32), np.arange(4.0), np.array([0, 4]), np.array([2]), np.array([3]))
    found = card.describe([record], [{"users": 1}], card.Span(0, 3, 9), Data(split=split), ["Thing"])
    assert found["core_counts"] == counts


@pytest.mark.parametrize(
    ("split", "needs"),
    [("global_time", "users with events before its last cut"), ("last_session", "3 sessions of a user")],
)
def test_nobody_to_test_on_is_explained_by_the_split(split, needs):
    record = Histories(np.zeros(4, np.int32), np.arange(4.0), np.array([0, 4]), np.array([4]), np.array([4]))
    with pytest.raises(UserError, match=f"no user is left to test on .*{split} needs {needs}"):
        card.describe([record], [{"users": 1}], card.Span(0, 3, 9), Data(split=split), ["Thing"])
