import numpy as np

from rexjax.config import Shop
from rexjax.data.shop_catalogue import DAY, START, TIERS, catalogue

SHOP = Shop(users=60, items=40, interactions=600, days=30)


def test_a_catalogue_follows_from_shop_and_seed():
    a, b, other = catalogue(SHOP, 0), catalogue(SHOP, 0), catalogue(SHOP, 1)
    assert list(a.titles) == list(b.titles)
    assert list(a.titles) != list(other.titles)
    np.testing.assert_array_equal(a.price, b.price)


def test_items_have_titles_of_their_own_prices_and_a_release_within_the_period():
    goods = catalogue(SHOP, 0)
    assert len(set(goods.titles)) == SHOP.items
    assert (goods.price > 0).all()
    assert set(np.unique(goods.tier)) <= set(range(TIERS))
    assert (goods.release <= START + SHOP.days * DAY).all()
