import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from rexjax.data import shop as shop_module
from rexjax.data.shop import CHUNK, DAY, EXAMINED, START, Shop, catalogue, events, true_preference, write
from rexjax.errors import UserError

SEED = 3
TINY = Shop(users=50, items=40, interactions=400, days=30)
TWO_CHUNKS = Shop(users=CHUNK + 100, items=600, interactions=6 * (CHUNK + 100), days=90)


def log_of(shop, goods, seed=SEED):
    table = pa.concat_tables(events(shop, goods, seed))
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "item_id"}
    return columns | {"item": table["item_id"].combine_chunks().indices.to_numpy()}


@pytest.fixture(scope="module")
def default():
    shop = Shop()
    goods = catalogue(shop, SEED)
    return shop, goods, log_of(shop, goods)


@pytest.fixture(scope="module")
def leave_one_out(default):
    """Histories [U, L] padded with -1 on the right, and the place of each user's last event in the log."""
    shop, _, log = default
    counts = np.bincount(log["user_id"])
    ends = np.cumsum(counts)
    histories = np.full((shop.users, counts.max()), -1)
    histories[np.arange(counts.max()) < counts[:, None]] = log["item"]
    histories[np.arange(shop.users), counts - 1] = -1
    return histories, ends - 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"users": 0}, "set users to 1"),
        ({"items": 39}, "set items to 40"),
        ({"interactions": 0}, "set interactions to 1"),
        ({"days": 6}, "set days to 7"),
        ({"users": 100, "interactions": 99}, "between 100 and 50000"),
        ({"users": 2, "items": 40, "interactions": 41}, "between 2 and 40"),
    ],
)
def test_a_shop_that_cannot_be_is_refused(fields, words):
    with pytest.raises(UserError, match=words):
        Shop(**fields)


@pytest.mark.parametrize(
    ("shop", "least"),
    [
        (Shop(), 5),
        (TINY, 5),
        (TWO_CHUNKS, 5),
        (Shop(users=1, items=40, interactions=1, days=7), 1),
        (Shop(users=30, items=40, interactions=30, days=7), 1),
        (Shop(users=30, items=40, interactions=100, days=7), 3),
        (Shop(users=2, items=40, interactions=40, days=7), 5),
        (Shop(users=9, items=5000, interactions=4500, days=2000), 5),
    ],
)
def test_sizes_are_exact(shop, least):
    log = log_of(shop, catalogue(shop, SEED))
    counts = np.bincount(log["user_id"], minlength=shop.users)
    assert (len(counts), counts.sum()) == (shop.users, shop.interactions)
    assert counts.min() >= least
    assert log["item"].min() >= 0 and log["item"].max() < shop.items
    assert log["timestamp"].min() >= START and log["timestamp"].max() < START + shop.days * DAY
    same_user = np.diff(log["user_id"]) == 0
    assert np.all(np.diff(log["timestamp"])[same_user] > 0)


def test_a_seed_is_one_shop():
    goods, again, other = (catalogue(TINY, seed) for seed in (SEED, SEED, SEED + 1))
    for name, first, second in zip(goods._fields[:-1], goods, again, strict=False):
        np.testing.assert_array_equal(first, second, err_msg=name)
    for name, first, second in zip(goods.dynamics._fields, goods.dynamics, again.dynamics, strict=True):
        np.testing.assert_array_equal(first, second, err_msg=name)
    assert list(goods.titles) != list(other.titles)
    tables = [pa.concat_tables(events(TINY, goods, seed)) for seed in (SEED, SEED, SEED + 1)]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_events_come_in_chunks_of_users_that_can_be_made_alone():
    goods = catalogue(TWO_CHUNKS, SEED)
    first, second = events(TWO_CHUNKS, goods, SEED)
    assert np.unique(first["user_id"].to_numpy()).tolist() == list(range(CHUNK))
    assert np.unique(second["user_id"].to_numpy()).tolist() == list(range(CHUNK, TWO_CHUNKS.users))
    assert second["session"].to_numpy().min() > first["session"].to_numpy().max()
    counts = np.bincount(second["user_id"].to_numpy())[CHUNK:]
    ids = first["item_id"].combine_chunks().dictionary
    assert shop_module.chunk_events(TWO_CHUNKS, goods, SEED, 1, counts, len(first), ids).equals(second)


def test_sessions_belong_to_one_user_and_last_minutes(default):
    _, _, log = default
    assert np.all(np.diff(log["session"]) >= 0)
    same = np.diff(log["session"]) == 0
    assert np.all(np.diff(log["user_id"])[same] == 0)
    gap = np.diff(log["timestamp"])
    assert np.median(gap[same]) < 600
    assert np.median(gap[~same & (np.diff(log["user_id"]) == 0)]) > DAY
    assert 2 < len(gap) / np.unique(log["session"]).size < 4


@pytest.mark.parametrize("counts", [[1], [20_000, 3], [5, 5, 1]])
def test_time_moves_on_however_many_the_purchases(counts):
    times, opens = shop_module.draw_visits(np.random.default_rng(0), 7, np.array(counts))
    assert times.shape == opens.shape == (max(counts), len(counts))
    assert np.all(np.diff(times, axis=0) > 0)
    assert times.min() >= START and times.max() < START + 7 * DAY


def test_nothing_is_sold_before_its_release(default):
    shop, goods, log = default
    assert np.all(log["timestamp"] >= goods.release[log["item"]])
    new = goods.release > START
    assert 0.07 < new.mean() < 0.13
    assert new[log["item"]].mean() > 0.02
    opening = true_preference(goods, shop, SEED, np.arange(5), np.full((5, 3), -1), np.full(5, START))
    assert np.all(opening[:, new] == 0) and np.all(opening[:, ~new] > 0)


def test_items_and_users_are_long_tailed(default):
    shop, _, log = default
    sold = np.sort(np.bincount(log["item"], minlength=shop.items))[::-1]
    assert sold[:100].sum() > 0.3 * shop.interactions  # a tenth of the items: three tenths of the sales
    assert sold[500:].sum() < 0.2 * shop.interactions
    rank = np.arange(10, 500)
    slope = np.polyfit(np.log(rank), np.log(sold[rank]), 1)[0]
    assert -1.3 < slope < -0.5
    bought = np.bincount(log["user_id"])
    assert bought.max() > 4 * bought.mean() and np.median(bought) < 0.85 * bought.mean()


def test_repeats_are_rare(default):
    shop, _, log = default
    assert np.unique(log["user_id"] * shop.items + log["item"]).size >= 0.95 * shop.interactions


def test_item_numbers_tell_nothing(default):
    shop, goods, _ = default
    for attribute in (goods.log_popularity, goods.release, goods.price, goods.category, goods.style, goods.tier):
        assert abs(np.corrcoef(np.arange(shop.items), attribute)[0, 1]) < 4 / np.sqrt(shop.items)


def test_titles_carry_the_attributes(default):
    shop, goods, _ = default
    assert len(set(goods.titles)) == shop.items
    words = [set(title.lower().replace(",", "").split()) for title in goods.titles]
    cell = goods.category * (goods.style.max() + 1) + goods.style
    rng = np.random.default_rng(0)

    def overlap(pairs):
        return np.mean([len(words[a] & words[b]) / len(words[a] | words[b]) for a, b in pairs if a != b])

    anchors = rng.integers(0, shop.items, 2000)
    alike = [(a, rng.choice(np.flatnonzero(cell == cell[a]))) for a in anchors]
    assert overlap(alike) > 2.5 * overlap(zip(anchors, rng.permutation(anchors), strict=True))


@pytest.mark.parametrize("history", [[-1, -1, -1], [7, -1, -1], [3, 7, -1], [-1, 3, 7], [9, 3, 7]])
def test_true_preference_is_the_frequency_of_draws(history):
    goods = catalogue(TINY, SEED)
    draws, day = 100_000, 12
    exact = true_preference(goods, TINY, SEED, [4], np.array([history]), [START + day * DAY + 5])[0]
    np.testing.assert_allclose(exact.sum(), 1, rtol=1e-12)
    taste = shop_module.draw_tastes(np.random.default_rng([SEED, 0]), goods, TINY.users).rows([4])
    before, last = np.array([-1, -1, *(item for item in history if item >= 0)])[-2:, None]
    odds = shop_module.next_odds(goods.dynamics, taste, before, last, np.array([day]))
    drawn = shop_module.draw_items(np.random.default_rng(1), goods.dynamics, odds, np.array([day]), draws)
    seen = np.bincount(drawn[0], minlength=TINY.items)
    assert np.all(seen[exact == 0] == 0)
    common = exact * draws >= 5
    chi_square = np.sum((seen - draws * exact)[common] ** 2 / (draws * exact[common]))
    freedom = common.sum() - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


def test_true_preference_of_many_users_is_that_of_each():
    goods = catalogue(TWO_CHUNKS, SEED)
    users = np.array([CHUNK + 7, 0, CHUNK - 1, CHUNK, 0])
    histories = np.random.default_rng(0).integers(-1, TWO_CHUNKS.items, (5, 4))
    times = START + np.arange(5) * 10 * DAY
    together = true_preference(goods, TWO_CHUNKS, SEED, users, histories, times)
    for row in range(5):
        one = slice(row, row + 1)
        alone = true_preference(goods, TWO_CHUNKS, SEED, users[one], histories[one], times[one])
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-12)


def test_the_season_moves_the_odds_of_categories(default):
    shop, goods, _ = default
    days = np.array([10, 200])
    preference = true_preference(goods, shop, SEED, [0, 0], np.array([[5, 9], [5, 9]]), START + days * DAY)
    share = np.stack([np.bincount(goods.category, row) for row in preference])
    lift = share[1] / share[0] * goods.dynamics.season[10] / goods.dynamics.season[200]
    np.testing.assert_allclose(lift, lift[0], rtol=1e-9)
    assert np.ptp(np.log(share[1] / share[0])) > 0.5


@pytest.mark.parametrize(("user", "item", "words"), [(50, 0, "users"), (-1, 0, "users"), (0, 40, "histories")])
def test_true_preference_refuses_unknown_numbers(user, item, words):
    with pytest.raises(UserError, match=words):
        true_preference(catalogue(TINY, SEED), TINY, SEED, [user], np.array([[item]]), [START])


def test_inverse_propensities_undo_the_position_bias():
    shop = Shop(users=20_000, items=40, interactions=20_000, days=30)  # one purchase each: the repeat rule is idle
    goods = catalogue(shop, SEED)
    log = log_of(shop, goods)
    empty = np.full((shop.users, 1), -1)
    true = true_preference(goods, shop, SEED, log["user_id"], empty, log["timestamp"]).mean(axis=0)
    raw = np.bincount(log["item"], minlength=shop.items) / shop.users
    undone = np.bincount(log["item"], 1 / (len(EXAMINED) * log["propensity"]), shop.items) / shop.users

    def distance(estimate):
        return np.abs(estimate - true).sum() / 2

    np.testing.assert_allclose(undone.sum(), 1, atol=0.02)
    assert distance(undone) < 0.025  # about ½ Σ √(2 p / π n)
    assert distance(raw) > 3 * distance(undone)
    popular = goods.log_popularity > np.median(goods.log_popularity)
    assert raw[popular].sum() > true[popular].sum() + 0.02


def test_slots_are_taken_with_their_propensity(default):
    shop, _, log = default
    np.testing.assert_allclose(log["propensity"], EXAMINED[log["position"]], rtol=1e-6)
    share = np.bincount(log["position"], minlength=len(EXAMINED)) / shop.interactions
    np.testing.assert_allclose(share, EXAMINED, atol=4 * np.sqrt(0.25 / shop.interactions))


def ndcg_at_10(scores, histories, targets):
    scores = scores.copy()
    users, places = np.nonzero(histories >= 0)
    scores[users, histories[users, places]] = -1
    own = scores[np.arange(len(targets)), targets]
    fresh = own >= 0
    rank = (scores > own[:, None]).sum(axis=1)[fresh]
    return np.mean(np.where(rank < 10, 1 / np.log2(rank + 2), 0))


def test_the_oracle_beats_popularity_and_order_matters(default, leave_one_out):
    shop, goods, log = default
    histories, last = leave_one_out
    targets, times, users = log["item"][last], log["timestamp"][last], np.arange(shop.users)
    sold = np.bincount(np.delete(log["item"], last), minlength=shop.items).astype(float)
    popularity = ndcg_at_10(np.tile(sold, (shop.users, 1)), histories, targets)
    oracle = ndcg_at_10(true_preference(goods, shop, SEED, users, histories, times), histories, targets)
    shuffled = np.random.default_rng(0).permuted(np.repeat(histories[None], 4, axis=0), axis=2)
    blind = sum(true_preference(goods, shop, SEED, users, order, times) for order in shuffled)
    assert 0.02 < popularity < 0.05
    assert oracle > 3 * popularity
    assert oracle > 2 * ndcg_at_10(blind, histories, targets)


def test_write_leaves_what_events_make(tmp_path, monkeypatch):
    monkeypatch.setattr(shop_module, "PART_ROWS", 10_000)
    write(TWO_CHUNKS, SEED, tmp_path)
    goods = catalogue(TWO_CHUNKS, SEED)
    parts = sorted((tmp_path / "interactions").iterdir())
    assert [part.name for part in parts] == ["part-00000.parquet", "part-00001.parquet"]
    written = ds.dataset(parts).to_table()
    made = pa.concat_tables(events(TWO_CHUNKS, goods, SEED))
    assert written.schema.equals(made.schema)
    assert written.to_pylist() == made.to_pylist()
    items = pq.read_table(tmp_path / "items.parquet")
    assert items.column_names == ["item_id", "title", "category", "price"]
    assert items["title"].to_pylist() == list(goods.titles)
    assert items["item_id"][599].as_py() == "sku-00599"
    np.testing.assert_array_equal(items["price"].to_numpy(), goods.price)


def test_write_replaces_an_earlier_and_larger_log(tmp_path, monkeypatch):
    monkeypatch.setattr(shop_module, "PART_ROWS", 10_000)
    write(TWO_CHUNKS, SEED, tmp_path)
    write(TINY, SEED, tmp_path)
    assert [part.name for part in (tmp_path / "interactions").iterdir()] == ["part-00000.parquet"]
    assert ds.dataset(tmp_path / "interactions").count_rows() == TINY.interactions
