"""The simulated shop's catalogue: items with readable attributes, and the habits that decide what follows what.

See ``rexjax.data.shop`` for the model; this file invents its tables from (shop, seed).
"""

from typing import NamedTuple

import numpy as np

from rexjax.data.sources import Shop

START = 1_704_067_200  # 2024-01-01 00:00 UTC
DAY = 86_400
TIERS = 3

WOOD = ("oak", "walnut", "pine", "bamboo", "teak")
METAL = ("brass", "steel", "copper", "iron", "chrome")
CLOTH = ("linen", "cotton", "wool", "velvet", "jute")
CLAY = ("ceramic", "glass", "stoneware", "porcelain", "marble")
# category: materials, then product types, each with its synonyms
CATEGORIES = {
    "tables": (WOOD, "coffee table|cocktail table", "dining table|kitchen table", "side table|end table"),
    "seating": (CLOTH, "sofa|couch", "armchair|lounge chair", "bench|settee", "bar stool"),
    "lamps": (METAL, "desk lamp|table lamp", "floor lamp|standing lamp", "pendant light|ceiling lamp"),
    "rugs": (CLOTH, "rug|area rug", "runner rug|hallway rug", "doormat|entrance rug"),
    "bedding": (CLOTH, "duvet cover|quilt cover", "bed sheet", "pillowcase|pillow cover", "bedspread|bed throw"),
    "curtains": (CLOTH, "curtain|drape", "roman blind|window blind", "sheer curtain|net curtain"),
    "storage": (WOOD, "bookcase|bookshelf", "chest of drawers|dresser", "cabinet|cupboard", "wall shelf"),
    "cookware": (METAL, "saucepan|cooking pot", "frying pan|skillet", "casserole pot|stew pot", "wok"),
    "tableware": (CLAY, "dinner plate", "soup bowl|bowl", "mug|coffee cup", "serving platter|serving dish"),
    "glasses": (CLAY, "carafe|decanter", "tumbler|drinking glass", "water jug|pitcher", "wine goblet"),
    "bath": (CLOTH, "bath towel|shower towel", "bath mat|bathroom mat", "shower curtain", "bathrobe"),
    "garden": (CLAY, "planter|flower pot", "bird bath", "garden fountain|water feature", "plant saucer"),
    "mirrors": (METAL, "wall mirror|hanging mirror", "vanity mirror|make-up mirror", "full-length mirror"),
    "clocks": (METAL, "wall clock", "alarm clock|bedside clock", "mantel clock|table clock"),
    "toys": (WOOD, "toy train|wooden train", "building blocks|stacking blocks", "dolls' house", "rocking horse"),
    "festive": (METAL, "christmas bauble|tree ornament", "advent candle holder", "fairy lights|string lights"),
}
STYLES = (
    *("nordic|scandinavian", "vintage|retro", "industrial|factory-style", "coastal|seaside"),
    *("bohemian|boho", "rustic|farmhouse", "minimalist|modern", "art deco|1920s"),
)
TIER_WORDS = (("budget", "basic", "everyday"), ("",), ("premium", "luxury", "designer"))
COLOURS = ("white", "black", "grey", "green", "blue", "red", "sand", "amber")
SIZES = ("small", "medium", "large", "extra large", "compact")
BRANDS = (
    *("Halden", "Orrin", "Maison Vey", "Tallow", "Brisk & Co", "Lundqvist", "Ferrow", "Casa Nieve", "Ashby", "Kinto"),
    *("Morrow", "Pell", "Sable", "Verano", "Wick", "Yarrow"),
)
PATTERNS = (
    "{tier} {style} {material} {kind} by {brand}",
    "{brand} {kind}, {style}, {tier} {material}",
    "{style} {kind} in {colour} {material}, {tier} {size}",
    "{kind} in {material}, {style} style, {tier} {size}",
    "{tier} {colour} {kind} by {brand}, {style} {material}",
)


class Dynamics(NamedTuple):
    """What decides the next purchase; C categories, S styles, G = C·S cells (cell = category · S + style).

    Index C of `complement`, S of `follow` and -1 of `category_of`, `style_of` stand for "no item".
    """

    complement: np.ndarray  # float64 [C+1, C+1, C]: the category after (second-to-last, last)
    follow: np.ndarray  # float64 [S+1, S+1, S]: the style after (second-to-last, last)
    season: np.ndarray  # float64 [days, C]: season × slow drift
    category_of: np.ndarray  # int32 [N+1]
    style_of: np.ndarray  # int32 [N+1]
    order: np.ndarray  # int32 [N]: items by (cell, tier, release)
    cumulative: np.ndarray  # float64 [N]: running sum of weights in that order; each cell's sum to 1
    base: np.ndarray  # float64 [G·3]: that running sum just before each (cell, tier)
    mass: np.ndarray  # float64 [days, G, 3]: weight released by that day


class Catalogue(NamedTuple):
    """The items, by item number (the number in `sku-01234`, drawn at random, so that it tells nothing)."""

    titles: np.ndarray  # str objects [N]
    category: np.ndarray  # int32 [N], into CATEGORIES
    style: np.ndarray  # int32 [N], into STYLES
    tier: np.ndarray  # int32 [N]: 0 cheap, 1 middle, 2 dear
    price: np.ndarray  # float32 [N], in the shop's currency
    release: np.ndarray  # int64 [N], unix seconds, at midnight UTC
    weight: np.ndarray  # float64 [N]: share of its cell when all are released; each cell's sum to 1
    log_popularity: np.ndarray  # float64 [N]: log of the expected share of purchases; what slates are sorted by
    dynamics: Dynamics


def catalogue(shop: Shop, seed: int) -> Catalogue:
    """Invents the items and the habits of the shop; O(items + days)."""
    rng = np.random.default_rng([seed, 0, 1])
    styles = len(STYLES) if shop.items >= 512 else 4
    categories = int(np.clip(shop.items // (4 * styles), 2, len(CATEGORIES)))
    category_share, style_share = _zipf(rng, categories, 0.5), _zipf(rng, styles, 0.3)
    cell = _cells(rng, shop.items, category_share, style_share)
    category, style = np.divmod(cell, styles)
    tier = rng.choice(TIERS, shop.items, p=(0.35, 0.4, 0.25))
    release = _releases(rng, shop, cell)
    weight = _weights(rng, cell, release > 0)
    return Catalogue(
        titles=_titles(rng, category, style, tier),
        category=category.astype(np.int32),
        style=style.astype(np.int32),
        tier=tier.astype(np.int32),
        price=_prices(rng, category, tier),
        release=START + release * DAY,
        weight=weight,
        log_popularity=np.log(weight * category_share[category] * style_share[style]),
        dynamics=Dynamics(
            complement=_complement(rng, category_share),
            follow=_follow(style_share),
            season=_season(rng, shop.days, categories),
            category_of=np.append(category, categories).astype(np.int32),
            style_of=np.append(style, styles).astype(np.int32),
            **_shelves(cell, tier, release, weight, shop.days, categories * styles),
        ),
    )


def _zipf(rng: np.random.Generator, size: int, exponent: float) -> np.ndarray:
    share = np.arange(1, size + 1.0) ** -exponent
    return rng.permutation(share / share.sum())


def _cells(rng: np.random.Generator, items: int, category_share: np.ndarray, style_share: np.ndarray) -> np.ndarray:
    """The cell of each item, int [N]; no cell is empty, and the order is random."""
    share = np.outer(category_share, style_share).ravel()
    rest = rng.choice(len(share), items - len(share), p=share)
    return rng.permutation(np.concatenate([np.arange(len(share)), rest]))


def _releases(rng: np.random.Generator, shop: Shop, cell: np.ndarray) -> np.ndarray:
    """The day of each item's release, int64 [N]; an item of every cell is there from day 0."""
    late = rng.random(shop.items) < 0.11
    mixed = rng.permutation(shop.items)
    late[mixed[np.unique(cell[mixed], return_index=True)[1]]] = False
    return late * rng.integers(1, shop.days, shop.items)


def _weights(rng: np.random.Generator, cell: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Zipf within the cell, with noise; new items draw twice the interest. Sums to 1 in each cell."""
    mixed = np.lexsort((rng.random(len(cell)), cell))
    sizes = np.bincount(cell)
    rank = np.empty(len(cell))
    rank[mixed] = 1 + np.arange(len(cell)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    weight = rank**-1.3 * np.exp(0.25 * rng.standard_normal(len(cell))) * (1 + new)
    return weight / np.bincount(cell, weight)[cell]


def _titles(rng: np.random.Generator, category: np.ndarray, style: np.ndarray, tier: np.ndarray) -> np.ndarray:
    """Titles of varied word order with synonyms, str objects [N]; a repeated one gets a series number."""
    dice = rng.integers(0, 2**31, (len(category), 9)).tolist()
    words = list(CATEGORIES.values())
    seen: dict[str, int] = {}
    titles = []
    for c, s, t, roll in zip(category.tolist(), style.tolist(), tier.tolist(), dice, strict=True):
        materials, *kinds = words[c]
        title = PATTERNS[roll[0] % len(PATTERNS)].format(
            kind=_pick_word(kinds[roll[1] % len(kinds)].split("|"), roll[2]),
            style=_pick_word(STYLES[s].split("|"), roll[3]),
            tier=_pick_word(TIER_WORDS[t], roll[4]),
            material=_pick_word(materials, roll[5]),
            colour=_pick_word(COLOURS, roll[6]),
            brand=_pick_word(BRANDS, roll[7]),
            size=_pick_word(SIZES, roll[8]),
        )
        title = " ".join(title.split())
        title = title[0].upper() + title[1:]
        seen[title] = seen.get(title, 0) + 1
        titles.append(title if seen[title] == 1 else f"{title}, series {seen[title]}")
    return np.array(titles, dtype=object)


def _pick_word(choices, number: int) -> str:
    return choices[number % len(choices)]


def _prices(rng: np.random.Generator, category: np.ndarray, tier: np.ndarray) -> np.ndarray:
    typical = np.exp(rng.uniform(2.5, 5.5, category.max() + 1))[category]
    price = typical * np.array((0.5, 1.0, 2.2))[tier] * np.exp(0.15 * rng.standard_normal(len(tier)))
    return price.round(2).astype(np.float32)


def _complement(rng: np.random.Generator, share: np.ndarray) -> np.ndarray:
    """What goes with what, float64 [C+1, C+1, C]: table → lamp → rug, and a pair asks for a third."""
    size = len(share)
    one_hot = np.eye(size)
    ring = rng.permutation(size)
    place = np.argsort(ring)
    after_one = 0.6 * one_hot[ring[(place + 1) % size]] + 0.2 * one_hot[ring[(place + 3) % size]] + 0.2 * share
    third = one_hot[rng.integers(0, size, (size, size))]
    table = np.tile(share, (size + 1, size + 1, 1))
    table[size, :size] = after_one
    table[:size, :size] = 0.5 * after_one + 0.5 * third
    return table


def _follow(share: np.ndarray) -> np.ndarray:
    """Styles persist, float64 [S+1, S+1, S]."""
    size = len(share)
    one_hot = np.eye(size)
    table = np.tile(share, (size + 1, size + 1, 1))
    table[size, :size] = 0.8 * one_hot + 0.2 * share
    table[:size, :size] = 0.65 * one_hot[None] + 0.2 * one_hot[:, None] + 0.15 * share
    return table


def _season(rng: np.random.Generator, days: int, categories: int) -> np.ndarray:
    """Yearly peaks for about half of the categories, and a slow drift for all; float64 [days, C]."""
    day = np.arange(days)[:, None]
    height = rng.uniform(0.3, 1.0, categories) * (rng.random(categories) < 0.5)
    peak = rng.uniform(0, 365, categories)
    drift = 0.4 * rng.standard_normal(categories)
    return np.exp(height * np.cos(2 * np.pi * (day - peak) / 365) + drift * (day / days - 0.5))


def _shelves(cell, tier, release, weight, days: int, cells: int) -> dict[str, np.ndarray]:
    """The sampling tables: released items of a (cell, tier) are a run of `order`, so one search draws one of them."""
    shelf = cell * TIERS + tier
    order = np.lexsort((release, shelf))
    cumulative = np.cumsum(weight[order])
    start = np.searchsorted(shelf[order], np.arange(cells * TIERS))
    mass = np.zeros((days, cells * TIERS))
    np.add.at(mass, (release, shelf), weight)
    return {
        "order": order.astype(np.int32),
        "cumulative": cumulative,
        "base": np.append(0.0, cumulative)[start],
        "mass": np.cumsum(mass, axis=0).reshape(days, cells, TIERS),
    }
