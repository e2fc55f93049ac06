import numpy as np
import pytest

from rexjax.data import splits


def parts(offsets, cuts):
    """Lengths of (train, valid, test) of each user."""
    valid, test = cuts
    return list(zip(valid - offsets[:-1], test - valid, offsets[1:] - test, strict=True))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([1], [(1, 0, 0)]),
        ([2], [(2, 0, 0)]),
        ([3], [(1, 1, 1)]),
        ([1, 2, 3, 7], [(1, 0, 0), (2, 0, 0), (1, 1, 1), (5, 1, 1)]),
        ([3, 0, 4], [(1, 1, 1), (0, 0, 0), (2, 1, 1)]),
    ],
)
def test_leave_one_out_holds_out_two_of_whoever_has_three(events, expected):
    offsets = np.cumsum([0, *events])
    assert parts(offsets, splits.leave_one_out(offsets)) == expected


@pytest.mark.parametrize(
    ("events", "times", "expected"),
    [
        ([1, 1, 1], [1, 5, 9], [(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
        ([3], [1, 5, 9], [(1, 1, 1)]),
        ([2, 3], [4, 8, 1, 2, 3], [(0, 1, 1), (3, 0, 0)]),
        # a moment belongs to what comes after it, and equal times are never parted
        ([4], [4, 4, 4, 7], [(0, 3, 1)]),
        ([4], [3, 3, 8, 8], [(2, 0, 2)]),
        ([0, 2], [1, 9], [(0, 0, 0), (1, 0, 1)]),
    ],
)
def test_global_time_cuts_all_users_at_the_same_two_moments(events, times, expected):
    offsets = np.cumsum([0, *events])
    assert parts(offsets, splits.global_time(offsets, np.array(times, float), 4, 7)) == expected


@pytest.mark.parametrize(
    ("events", "sessions", "expected"),
    [
        ([1], [0], [(1, 0, 0)]),
        ([4], [0, 0, 1, 1], [(4, 0, 0)]),
        ([6], [0, 0, 1, 2, 2, 2], [(2, 1, 3)]),
        ([3], [7, 8, 9], [(1, 1, 1)]),
        ([5], [1, 2, 3, 4, 4], [(2, 1, 2)]),
        # neighbours with the same session number are still two users
        ([3, 3], [1, 2, 3, 3, 4, 5], [(1, 1, 1), (1, 1, 1)]),
        ([2, 3, 4], [1, 2, 2, 3, 4, 4, 5, 6, 6], [(2, 0, 0), (1, 1, 1), (1, 1, 2)]),
        ([0, 3, 0], [1, 2, 3], [(0, 0, 0), (1, 1, 1), (0, 0, 0)]),
    ],
)
def test_last_session_holds_out_two_of_whoever_has_three(events, sessions, expected):
    offsets = np.cumsum([0, *events])
    assert parts(offsets, splits.last_session(offsets, np.array(sessions))) == expected


@pytest.mark.parametrize(
    ("users", "items", "kept", "tests"),
    [
        ([0] * 5, [0, 1, 9, 2, 3], [1, 1, 1, 0, 0], [0, 0, 1, 0, 0]),  # 8 and 9 are cold
        ([0] * 5, [0, 9, 1, 2, 3], [1, 0, 1, 1, 1], [0] * 5),  # too early to test
        ([0] * 5, [9, 0, 1, 8, 9], [0, 1, 1, 1, 0], [0, 0, 0, 1, 0]),
        ([0] * 3, [9, 8, 9], [0, 0, 0], [0] * 3),
        ([0] * 3 + [4] * 4, [0, 1, 2, 3, 4, 8, 5], [1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, 0]),
        ([0] * 2 + [1] * 2, [0, 1, 8, 2], [1, 1, 0, 1], [0] * 4),  # those before belong to another user
    ],
)
def test_cold_items_are_dropped_but_for_one_that_tests(users, items, kept, tests):
    cold = np.arange(10) >= 8
    found = splits.without_cold(np.array(users), np.array(items), cold)
    np.testing.assert_array_equal(found, np.array([kept, tests], bool))


def test_the_last_before_a_test_validates():
    offsets = np.cumsum([0, 3, 4, 1, 2, 0])
    assert parts(offsets, splits.last_validates(offsets, np.array([1, 0, 0, 0, 0]))) == [
        (1, 1, 1),
        (3, 1, 0),
        (1, 0, 0),
        (1, 1, 0),
        (0, 0, 0),
    ]
