"""The simulated shop: the embedded data set, and a test bench on which the right answer is known.

A home-goods shop whose items carry readable attributes (category, product type, style, material, colour, brand, price
tier), spelt out in their titles. What a user wants next is an explicit distribution (`true_preference`), so that a
model can be held against the best possible one:

    P(category) ∝ season[day, category] · ((1 − a) · complement[second-to-last, last] + a · the user's categories)
    P(style)    =  (1 − b) · follow[second-to-last, last] + b · the user's styles
    P(tier)     ∝  the user's price preference · weight of the cell's released items of that tier
    P(item)     ∝  Zipf weight among the released items of (category, style, tier)

The log is not a plain sample of it. The shop shows a slate of four independent draws, the most popular first, and the
user takes slot j with the known propensity ∝ (j + 1)^-½ (position bias as in Joachims et al., WSDM 2017): the log
over-represents popular items, and weights 1 / propensity undo that exactly. An item among the user's last 64 is drawn
anew, up to three times, so that few are bought twice.

Everything comes from (shop, seed): the catalogue at once, events in chunks of users that can each be made alone. Ten
million purchases are written in half a minute on one core and 0.3 GB.

NDCG@10 at the default size, seeds 0-2: every user's last purchase, ranked among all items not bought before.

    popularity                                        0.029 - 0.031
    item-to-item transitions, counted in the log      0.131 - 0.136
    cell-to-cell transitions, counted, by popularity  0.152 - 0.162
    true preference, history shuffled (8 averaged)    0.118 - 0.126
    true preference, last item only                   0.203 - 0.220
    true preference: the oracle                       0.303 - 0.314
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.data.shop_catalogue import CATEGORIES, DAY, START, TIERS, Catalogue, Dynamics, catalogue
from rexjax.data.sources import Shop
from rexjax.errors import UserError

CHUNK = 4096  # users made together
SLATE = 4
EXAMINED = np.arange(1, SLATE + 1) ** -0.5 / np.sum(np.arange(1, SLATE + 1) ** -0.5)  # propensity of each slot
RECENT = 64  # an item among so many last ones is drawn anew
REDRAWS = 3
OWN_CATEGORY, OWN_STYLE = 0.35, 0.4  # a and b above: the share of the user's own taste
PART_ROWS = 1_000_000


class Taste(NamedTuple):
    """What a user likes whatever came before; rows sum to 1."""

    category: np.ndarray  # float64 [B, C]
    style: np.ndarray  # float64 [B, S]
    tier: np.ndarray  # float64 [B, 3]

    def rows(self, index) -> "Taste":
        """The tastes (or odds) of some of the users."""
        return Taste(*(field[index] for field in self))


def write(shop: Shop, seed: int, folder: Path) -> None:
    """Writes `items.parquet` and `interactions/part-00000.parquet`, … under `folder`, replacing earlier ones.

    Items: item_id, title, category (string), price (float32). Interactions, by user and time: see `events`.
    """
    parts = Path(folder) / "interactions"
    parts.mkdir(parents=True, exist_ok=True)
    for stale in parts.glob("part-*.parquet"):
        stale.unlink()
    goods = catalogue(shop, seed)
    names = np.array(list(CATEGORIES), dtype=object)[goods.category]
    columns = {"item_id": _item_ids(shop.items), "title": goods.titles, "category": names, "price": goods.price}
    pq.write_table(pa.table(columns), Path(folder) / "items.parquet")
    for number, part in enumerate(_parts(events(shop, goods, seed))):
        pq.write_table(part, parts / f"part-{number:05d}.parquet")


def events(shop: Shop, catalogue: Catalogue, seed: int) -> Iterator[pa.Table]:
    """The log in chunks of at most 4096 users, by user and time; only one chunk is in memory.

    Columns: user_id int64 · item_id dictionary of strings · timestamp int64, unix seconds, strictly increasing within a
    user · session int64, a visit's number, unique over users · price float32 · position int8, the slot that the item
    was shown in, from 0 · propensity float32, the known probability with which that slot is taken.
    """
    counts = _counts(shop, seed)
    ids = _item_ids(shop.items)
    first_event = 0
    for chunk in range(-(-shop.users // CHUNK)):
        own = counts[chunk * CHUNK : (chunk + 1) * CHUNK]
        yield chunk_events(shop, catalogue, seed, chunk, own, first_event, ids)
        first_event += int(own.sum())


def true_preference(
    catalogue: Catalogue, shop: Shop, seed: int, users: np.ndarray, histories: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """The exact probability of each item as the next one preferred: float64 [B, N], rows sum to 1.

    It is that of one fresh draw: before position bias, and before the repeat rule, which leaves the items outside the
    last 64 in the same proportions. `users` int [B, at least one]; `histories` item numbers, int [B, L], oldest first,
    padded with -1 on either side; `times` of the next purchase, unix seconds, int [B]; one outside the period counts
    as its nearest day.
    """
    users, histories = np.asarray(users), np.asarray(histories)
    _check_range("users", users, 0, shop.users)
    _check_range("histories", histories, -1, shop.items)
    dynamics = catalogue.dynamics
    day = np.clip((np.asarray(times) - START) // DAY, 0, shop.days - 1)
    odds = next_odds(dynamics, _tastes_of(catalogue, seed, users, shop), *_last_two(histories), day)
    cell = catalogue.category * odds.style.shape[1] + catalogue.style
    on_sale = (odds.tier[:, None, :] * dynamics.mass[day]).sum(axis=2)  # [B, G]
    preference = odds.category[:, catalogue.category] * odds.style[:, catalogue.style] / on_sale[:, cell]
    released = catalogue.release <= START + day[:, None] * DAY
    return preference * odds.tier[:, catalogue.tier] * released * catalogue.weight


def _item_ids(items: int) -> pa.Array:
    return pa.array([f"sku-{number:05d}" for number in range(items)], pa.string())


# --- Who the users are -----------------------------------------------------------------------------------------------


def _counts(shop: Shop, seed: int) -> np.ndarray:
    """Purchases of each user, int64 [U]: at least five if the mean allows, log-normal above, summing exactly."""
    least = min(5, shop.interactions // shop.users)
    share = np.cumsum(np.minimum(np.random.default_rng([seed, 0, 2]).lognormal(0, 1, shop.users), 10))
    reached = np.floor(share / share[-1] * (shop.interactions - least * shop.users)).astype(np.int64)
    return least + np.diff(reached, prepend=0)


def draw_tastes(rng: np.random.Generator, catalogue: Catalogue, users: int) -> Taste:
    """Draws the tastes of a chunk's users.

    Args:
      rng: the chunk's generator, ``default_rng([seed, chunk])``; the tastes are the first thing it draws.
      catalogue: of the shop.
      users: B, all users of the chunk.

    Returns:
      Tastes of B users, rows summing to 1.
    """

    def few(average, concentration):
        draw = rng.standard_gamma(concentration * average, (users, len(average))) + 1e-6 * average
        return draw / draw.sum(axis=1, keepdims=True)

    category, style = catalogue.dynamics.complement[-1, -1], catalogue.dynamics.follow[-1, -1]
    return Taste(few(category, 4.0), few(style, 2.0), few(np.full(TIERS, 1 / TIERS), 1.5))


def _tastes_of(catalogue: Catalogue, seed: int, users: np.ndarray, shop: Shop) -> Taste:
    """The tastes of any users, int [B], drawn again from their chunks' generators."""
    chunks, inverse = np.unique(users // CHUNK, return_inverse=True)
    sizes = np.minimum(CHUNK, shop.users - chunks * CHUNK)
    drawn = [draw_tastes(np.random.default_rng([seed, c]), catalogue, n) for c, n in zip(chunks, sizes, strict=True)]
    first = np.cumsum(sizes) - sizes
    return Taste(*map(np.concatenate, zip(*drawn, strict=True))).rows(first[inverse] + users % CHUNK)


def _last_two(histories: np.ndarray) -> np.ndarray:
    """The second-to-last and the last item of each history, -1 where there is none; int [2, B]."""
    padded = np.pad(histories, ((0, 0), (2, 0)), constant_values=-1)
    real_last = np.argsort(padded >= 0, axis=1, kind="stable")
    return np.take_along_axis(padded, real_last[:, -2:], axis=1).T


def _check_range(name: str, values: np.ndarray, low: int, high: int) -> None:
    if values.size and not low <= values.min() <= values.max() < high:
        raise UserError(f"{name} reach from {values.min()} to {values.max()}: give numbers from {low} to {high - 1}.")


# --- What they buy ---------------------------------------------------------------------------------------------------


def next_odds(dynamics: Dynamics, taste: Taste, before: np.ndarray, last: np.ndarray, day: np.ndarray) -> Taste:
    """The odds of a user's next purchase, given the last two.

    Args:
      dynamics: the catalogue's.
      taste: of B users.
      before: int [B], the second-to-last item, -1 where there is none.
      last: int [B], the last item, -1 where there is none.
      day: int [B], of the next purchase.

    Returns:
      Odds of the category [B, C] and the style [B, S], rows summing to 1, and the price preference [B, 3].
    """
    category = dynamics.complement[dynamics.category_of[before], dynamics.category_of[last]]
    category = ((1 - OWN_CATEGORY) * category + OWN_CATEGORY * taste.category) * dynamics.season[day]
    style = dynamics.follow[dynamics.style_of[before], dynamics.style_of[last]]
    style = (1 - OWN_STYLE) * style + OWN_STYLE * taste.style
    return Taste(category / category.sum(axis=1, keepdims=True), style, taste.tier)


def _pick(rng: np.random.Generator, odds: np.ndarray, draws: int) -> np.ndarray:
    """Independent draws from the rows of `odds` [B, X], which need not sum to 1; int64 [B, draws]."""
    reached = np.cumsum(odds, axis=1)
    point = rng.random((len(odds), draws)) * reached[:, -1:]
    return (point[:, :, None] >= reached[:, None, :-1]).sum(axis=2)


def draw_items(rng: np.random.Generator, dynamics: Dynamics, odds: Taste, day: np.ndarray, draws: int) -> np.ndarray:
    """Draws items from the true preference, independently of each other.

    Args:
      rng: the chunk's generator.
      dynamics: the catalogue's.
      odds: of B users, see `next_odds`.
      day: int [B], of the purchase; only released items are drawn.
      draws: items for each user.

    Returns:
      int32 [B, draws].
    """
    cell = _pick(rng, odds.category, draws) * odds.style.shape[1] + _pick(rng, odds.style, draws)
    mass = dynamics.mass[day[:, None], cell].reshape(-1, TIERS)
    tier = _pick(rng, np.repeat(odds.tier, draws, axis=0) * mass, 1)[:, 0]
    # a hair below 1, so that rounding never reaches the next item, which may not be released yet
    depth = rng.random(len(tier)) * (1 - 1e-9) * mass[np.arange(len(tier)), tier]
    point = dynamics.base[cell.ravel() * TIERS + tier] + depth
    return dynamics.order[np.searchsorted(dynamics.cumulative, point, side="right")].reshape(cell.shape)


def _purchase(rng, catalogue: Catalogue, taste: Taste, recent: np.ndarray, day: np.ndarray):
    """One purchase of each user from a fresh slate, given the last items [R, B]: item int32 [B], slot int64 [B]."""
    users = np.arange(len(day))
    none = np.full(len(day), -1)
    last = recent[-1] if len(recent) else none
    before = recent[-2] if len(recent) > 1 else none
    odds = next_odds(catalogue.dynamics, taste, before, last, day)
    slate = draw_items(rng, catalogue.dynamics, odds, day, SLATE)
    for _ in range(REDRAWS):
        row, column = np.nonzero((recent[:, :, None] == slate).any(axis=0))
        slate[row, column] = draw_items(rng, catalogue.dynamics, odds.rows(row), day[row], 1)[:, 0]
    shown = np.argsort(-catalogue.log_popularity[slate], axis=1)
    slot = _pick(rng, np.broadcast_to(EXAMINED, (len(day), SLATE)), 1)[:, 0]
    return slate[users, shown[users, slot]], slot


def draw_visits(rng: np.random.Generator, days: int, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws when users buy: about three purchases minutes apart, then days of rest.

    Args:
      rng: the chunk's generator.
      days: length of the period.
      counts: int [B], purchases of each user, at least one.

    Returns:
      Times, int64 [T, B] for the longest T, unix seconds, strictly increasing along T and within the period, and
      whether a visit opens there, bool [T, B].
    """
    shape = (counts.max(), len(counts))
    opens = rng.random(shape) < 1 / 3
    opens[0] = True
    pause = np.where(opens, DAY / 2 + rng.exponential(6 * DAY, shape), 20 + rng.exponential(150, shape))
    pause[0] = 0
    pause[np.arange(shape[0])[:, None] >= counts] = 0
    elapsed = np.cumsum(pause, axis=0)
    room = days * DAY - shape[0]  # one second is added per purchase, so that time strictly increases
    squeeze = np.minimum(1, rng.uniform(0.5, 1, len(counts)) * room / np.maximum(elapsed[-1], 1))
    first = rng.random(len(counts)) * (room - squeeze * elapsed[-1])
    return START + (first + squeeze * elapsed).astype(np.int64) + np.arange(shape[0])[:, None], opens


def chunk_events(
    shop: Shop, catalogue: Catalogue, seed: int, chunk: int, counts: np.ndarray, first_event: int, ids: pa.Array
) -> pa.Table:
    """Makes the events of one chunk of users, without those of any other chunk.

    Args:
      shop: sizes.
      catalogue: of the shop.
      seed: of the shop.
      chunk: number of the chunk, from 0.
      counts: int [B], purchases of each of its users.
      first_event: events in all chunks before it; session numbers start there.
      ids: strings [N], raw ids of all items.

    Returns:
      A table with the columns of `events`, by user and time.
    """
    rng = np.random.default_rng([seed, chunk])
    taste = draw_tastes(rng, catalogue, len(counts))
    longest = np.argsort(-counts, kind="stable")  # those with a step to go are then a prefix
    taste, counts = taste.rows(longest), counts[longest]
    times, opens = draw_visits(rng, shop.days, counts)
    item = np.zeros(times.shape, np.int32)
    slot = np.zeros(times.shape, np.int8)
    for step in range(counts[0]):
        going = np.count_nonzero(counts > step)
        recent = item[max(0, step - RECENT) : step, :going]
        day = (times[step, :going] - START) // DAY
        item[step, :going], slot[step, :going] = _purchase(rng, catalogue, taste.rows(slice(going)), recent, day)
    back = np.argsort(longest)
    real = (np.arange(counts[0]) < counts[:, None])[back]
    item, slot, times, opens = (grid.T[back][real] for grid in (item, slot, times, opens))
    columns = {
        "user_id": chunk * CHUNK + np.repeat(np.arange(len(back)), counts[back]),
        "item_id": pa.DictionaryArray.from_arrays(item, ids),
        "timestamp": times,
        "session": first_event + np.maximum.accumulate(np.where(opens, np.arange(len(opens)), 0)),
        "price": catalogue.price[item],
        "position": slot,
        "propensity": EXAMINED.astype(np.float32)[slot],
    }
    return pa.table(columns)


def _parts(chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Joins chunks into tables of about a million rows: each written file repeats the dictionary of items."""
    waiting: list[pa.Table] = []
    for chunk in chunks:
        waiting.append(chunk)
        if sum(map(len, waiting)) >= PART_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
