import numpy as np
import pytest

from rexjax.data.packing import Packing, pack


def block(lengths):
    users = np.repeat(np.arange(3, 3 + len(lengths)), lengths)
    events = np.arange(len(users))
    return {"user": users, "item": events * 2, "time": events / 4, "session": np.zeros(len(users))}


@pytest.mark.parametrize("lengths", [(1, 2, 3, 4, 7), (1,), (4, 1, 5)])
def test_second_to_last_is_leave_one_out_of_the_log_without_each_users_last_event(lengths):
    found, whole = pack(block(lengths), Packing("second_to_last")), block(lengths)
    kept = np.concatenate([np.arange(n)[:-1] + sum(lengths[:u]) for u, n in enumerate(lengths)]).astype(int)
    assert found.users == len(lengths)
    np.testing.assert_array_equal(found.items, whole["item"][kept])
    np.testing.assert_array_equal(found.times, whole["time"][kept])
    for user, count in enumerate(lengths):
        end, left = found.offsets[user + 1], count - 1
        assert end - found.offsets[user] == left
        held = (2, 1) if left >= 3 else (0, 0)
        assert (end - found.valid_start[user], end - found.test_start[user]) == held


def test_its_test_is_the_validation_of_leave_one_out():
    lengths = (4, 6, 9)
    ours, theirs = (pack(block(lengths), Packing(split)) for split in ("second_to_last", "leave_one_out"))
    np.testing.assert_array_equal(ours.items[ours.test_start], theirs.items[theirs.valid_start])
