import numpy as np
import pytest

from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.evaluation import ranking, requests

N, L = 10, 4
# user: train | valid | test
USERS = [
    ([0, 1, 2, 3, 4], [5], [6]),
    ([0, 1], [1], [2, 3, 2]),  # the valid item was seen; a target twice
    ([], [7], [8]),  # no history before valid
    ([3, 4], [], []),  # trains only
    ([9], [8, 9], [7, 9]),  # one target of each part was seen
]


def log(users=USERS) -> Histories:
    items, offsets, valid, test = [], [0], [], []
    for parts in users:
        valid.append(len(items) + len(parts[0]))
        test.append(valid[-1] + len(parts[1]))
        items += [item for part in parts for item in part]
        offsets.append(len(items))
    arrays = (np.asarray(x, np.int64) for x in (offsets, valid, test))
    return Histories(np.asarray(items, np.int32), np.zeros(len(items)), *arrays)


def lists(ids: np.ndarray, offsets: np.ndarray) -> list[list[int]]:
    return [part.tolist() for part in np.split(ids, offsets[1:-1])]


def build(part: str, **options):
    found, users = requests.build(log(), part, items=N, length=L, **options)
    assert found.histories.dtype == found.seen_items.dtype == found.target_items.dtype == np.int32
    return (
        users.tolist(),
        found.histories.tolist(),
        lists(found.seen_items, found.seen_offsets),
        lists(found.target_items, found.target_offsets),
    )


VALID = {0: ([1, 2, 3, 4], [0, 1, 2, 3, 4], [5]), 4: ([-1, -1, -1, 9], [9], [8])}
TEST = {
    0: ([2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [6]),
    1: ([-1, 0, 1, 1], [0, 1], [2, 3]),
    2: ([-1, -1, -1, 7], [7], [8]),
    4: ([-1, 9, 8, 9], [8, 9], [7]),
}
VALID_WITH_SEEN = {0: ([1, 2, 3, 4], [], [5]), 1: ([-1, -1, 0, 1], [], [1]), 4: ([-1, -1, -1, 9], [], [8, 9])}
TEST_WITH_SEEN = {user: (history, [], targets) for user, (history, _, targets) in TEST.items()}
TEST_WITH_SEEN[4] = ([-1, 9, 8, 9], [], [7, 9])


@pytest.mark.parametrize(
    "part, exclude_seen, expected",
    [
        ("valid", True, VALID),
        ("test", True, TEST),
        ("valid", False, VALID_WITH_SEEN),
        ("test", False, TEST_WITH_SEEN),
    ],
)
def test_hand_written_histories(part, exclude_seen, expected):
    users, histories, seen, targets = build(part, exclude_seen=exclude_seen)
    assert users == list(expected)
    for user, *found in zip(users, histories, seen, targets, strict=True):
        assert tuple(found) == expected[user]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_subsample_is_some_of_all_and_follows_the_seed(most, seed):
    every, some = build("test"), build("test", most=most, seed=seed)
    assert len(some[0]) == most and some[0] == sorted(set(some[0]))
    at = [every[0].index(user) for user in some[0]]
    assert list(some[1:]) == [[column[i] for i in at] for column in every[1:]]
    assert build("test", most=most, seed=seed) == some


def test_seeds_draw_different_users():
    assert len({tuple(build("test", most=2, seed=seed)[0]) for seed in range(20)}) > 1


@pytest.mark.parametrize("most", [0, 4, 100])
def test_no_more_users_than_there_are(most):
    assert build("test", most=most) == build("test")


@pytest.mark.parametrize(
    "users, part", [([([1, 2], [], [])], "test"), ([([], [1], [2])], "valid"), ([([1], [1], [1])], "test")]
)
def test_nobody_left_is_a_mistake(users, part):
    with pytest.raises(UserError, match=f"no user has both a history and a new item in the {part} part"):
        requests.build(log(users), part, items=N, length=L)


@pytest.mark.parametrize("negatives, left", [(0, 1), (2, 3), (99, 4)])
def test_a_sample_leaves_targets_and_some_others(negatives, left):
    whole = requests.build(log(), "test", items=N, length=L)[0]
    few = requests.sampled(whole, N, negatives, seed=0)
    candidates = [set(range(N)) - set(seen) for seen in lists(few.seen_items, few.seen_offsets)]
    targets = lists(few.target_items, few.target_offsets)
    assert targets == lists(whole.target_items, whole.target_offsets)
    assert len(candidates[0]) == left and all(set(own) <= found for own, found in zip(targets, candidates, strict=True))
    before = lists(whole.seen_items, whole.seen_offsets)
    assert not any(set(seen) & found for seen, found in zip(before, candidates, strict=True))
    again = requests.sampled(whole, N, negatives, seed=0)
    assert (again.seen_items == few.seen_items).all()


def test_the_identity_of_a_test_holds_its_targets_its_seen_items_and_its_candidates():
    asked = ranking.Requests(np.zeros((2, 1), np.int32), *ranking.ragged([[0], [1]]), *ranking.ragged([[1], [2]]))
    names = ["茶", "a", "ü"]
    same = requests.identity(asked._replace(histories=np.ones((2, 3), np.int32)), names)
    assert same == requests.identity(asked, names)
    others = [(asked, ["茶", "a", "u"]), (asked._replace(target_items=np.array([1, 0], np.int32)), names)]
    assert same not in {requests.identity(*other) for other in others}
