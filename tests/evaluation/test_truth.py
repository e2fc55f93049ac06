import numpy as np
import pytest

from rexjax.data.shop import catalogue, true_preference
from rexjax.data.shop_catalogue import START
from rexjax.data.sources import Shop
from rexjax.evaluation import truth
from rexjax.evaluation.ranking import Requests, ragged

U, N, K = 7, 20, 4
RNG = np.random.default_rng(0)
P = RNG.random((U, N)) ** 3
P /= P.sum(1, keepdims=True)
SEEN = [sorted(RNG.permutation(N)[: 1 + user].tolist()) for user in range(U)]
ASKED = Requests(np.zeros((U, 3), np.int32), *ragged(SEEN), *ragged([[0]] * U))
LISTS = np.stack([[i for i in RNG.permutation(N) if i not in SEEN[user]][:K] for user in range(U)]).astype(np.int32)
LISTS[2, 3] = -1


def plain(user, items):
    left = {item: P[user, item] for item in range(N) if item not in SEEN[user]}
    total = sum(left.values())
    return sum(left[item] / total / np.log2(rank + 2) for rank, item in enumerate(items) if item >= 0)


@pytest.mark.parametrize("at_once", [1 << 22, 45])
def test_the_worth_of_a_list_is_its_expected_gain_and_none_is_above_the_oracle(monkeypatch, at_once):
    monkeypatch.setattr(truth, "AT_ONCE", at_once)
    found = truth.expected_dcg({"mine": LISTS}, ASKED, P.__getitem__, N)
    np.testing.assert_allclose(found["mine"], [plain(user, LISTS[user].tolist()) for user in range(U)])
    unseen = [[i for i in np.argsort(-P[user]) if i not in SEEN[user]][:K] for user in range(U)]
    np.testing.assert_allclose(found["oracle"], [plain(user, unseen[user]) for user in range(U)])
    assert (found["mine"] <= found["oracle"]).all()


def test_the_shop_knows_what_its_users_want():
    shop = Shop(users=30, items=60, interactions=300, days=30)
    items, histories = ["sku-00007", "sku-00003", "sku-00041"], np.array([[-1, 0, 2], [-1, -1, 1]])
    found = shop.preference(3, items)(["4", "29"], histories, np.full(2, START + 9.0))
    bought = np.array([[-1, 7, 41], [-1, -1, 3]])
    whole = true_preference(catalogue(shop, 3), shop, 3, np.array([4, 29]), bought, np.full(2, START + 9))
    np.testing.assert_array_equal(found, whole[:, [7, 3, 41]])
