"""Does the gate decide as the truth would? Seeded challengers of a counted model on the simulated shop.

    python -m benchmarks.gate [--quick] [--challengers 40] [--json FILE]

The champion is an item-to-item model (ItemKNN) blended with the shop's known preference, so that challengers can be
made that are truly better. A challenger moves the champion's scores towards the known preference (better) or towards
seeded noise (worse). One that is worse in one segment is better in all others, so that its mean over all users is 2 %
better. How far scores move is found by bisection on the expected DCG under the known preference, of users that are not
in the gate's test. The gate sees only the log: NDCG@10 of each user's last purchase. The number of users follows from a
power calculation with the deviation of pilot challengers.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from benchmarks import record
from rexjax.data import shop as shops
from rexjax.data.shop_catalogue import Catalogue, catalogue
from rexjax.data.sources import Shop
from rexjax.evaluation import gate
from rexjax.evaluation.gate import Margins, Side

K = 10
GAINS = 1 / np.log2(np.arange(2, K + 2))
EFFECT, HARM = 0.02, 0.15
"""True relative difference over all users; loss in the one segment of a challenger that is worse there."""
TUNING = 8000
"""Users by whose true preference the size of a change is found."""
BLEND = 0.2
"""Share of the known preference in the champion's scores."""
JITTER = 0.1
"""Deviation of the noise between two trainings, in deviations of a user's scores."""
SEGMENTS = 5
STEPS = 14
POWER = 0.99
"""Of the power calculation: above the 95 % that must be shown, since deviations and true differences vary."""


class Users(NamedTuple):
    """Some users of the shop at their last purchase."""

    seen: np.ndarray
    """bool [U, N]."""
    target: np.ndarray
    """int [U]."""
    scores: np.ndarray
    """float32 [U, N], of the champion, standardised by user."""
    wanted: np.ndarray
    """float32 [U, N], the known preference among unseen items."""
    segment: np.ndarray
    """int [U], the category of the item before."""

    def rows(self, index: Any) -> "Users":
        """Some of them."""
        return Users(*(field[index] for field in self))


@dataclass(frozen=True)
class Kind:
    """A kind of challenger."""

    name: str
    good: bool
    effect: float
    segment: bool = False


KINDS = (
    Kind("better by 2 %", True, EFFECT),
    Kind("worse by 2 %", False, -EFFECT),
    Kind("worse in one segment", False, -HARM, segment=True),
)


def build(shop: Shop, seed: int) -> Users:
    """All users: their histories but for the last purchase, and what the champion and the truth say of it."""
    goods = catalogue(shop, seed)
    log = _log(shop, goods, seed)
    items, times = [part["item"] for part in log], [part["time"] for part in log]
    users = np.arange(shop.users)
    histories = _padded([row[:-1] for row in items])
    counts = _transitions(items, shop.items)
    scores = _scores(histories, counts)
    seen = np.zeros((shop.users, shop.items), bool)
    for user, row in enumerate(items):
        seen[user, row[:-1]] = True
    target = np.array([row[-1] for row in items])
    seen[users, target] = False
    wanted = _preference(goods, shop, seed, users, histories, np.array([row[-1] for row in times]))
    truth = np.log(np.maximum(wanted, 1e-6))
    mixed = (1 - BLEND) * _standard(scores) + BLEND * _standard(truth)
    wanted = np.where(seen, 0, wanted)
    wanted /= wanted.sum(1, keepdims=True)
    last = histories[:, -1]
    segment = np.unique(goods.category[last], return_inverse=True)[1] % SEGMENTS
    return Users(seen, target, mixed.astype(np.float32), wanted.astype(np.float32), segment)


def _log(shop: Shop, goods: Catalogue, seed: int) -> list[dict[str, np.ndarray]]:
    rows = []
    for chunk in shops.events(shop, goods, seed):
        user = chunk["user_id"].to_numpy()
        item = np.array([int(name.removeprefix("sku-")) for name in chunk["item_id"].to_pylist()])
        moment = chunk["timestamp"].to_numpy()
        bounds = np.flatnonzero(np.diff(user)) + 1
        pairs = zip(np.split(item, bounds), np.split(moment, bounds), strict=True)
        rows += [{"item": items, "time": times} for items, times in pairs]
    return rows


def _padded(rows: list[np.ndarray], length: int = 20) -> np.ndarray:
    """int [U, L], the latest last, -1 before."""
    found = np.full((len(rows), length), -1)
    for number, row in enumerate(rows):
        kept = row[-length:]
        found[number, length - len(kept) :] = kept
    return found


def _transitions(rows: list[np.ndarray], items: int) -> np.ndarray:
    """float32 [N, N]: how often an item follows another one, before the last purchases, as a damped probability."""
    counts = np.zeros((items, items), np.float32)
    for row in rows:
        known = row[:-1]
        np.add.at(counts, (known[:-1], known[1:]), 1)
    return counts / (counts.sum(1, keepdims=True) + 20)


def _scores(histories: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """float32 [U, N]: what follows the last item, and half as much of what follows the one before."""
    last, before = histories[:, -1], histories[:, -2]
    return counts[last] + 0.5 * counts[np.maximum(before, 0)] * (before >= 0)[:, None]


def _preference(goods: Catalogue, shop: Shop, seed: int, users: np.ndarray, histories: Any, times: Any) -> np.ndarray:
    parts = np.array_split(users, max(len(users) // 1000, 1))
    found = [shops.true_preference(goods, shop, seed, part, histories[part], times[part]) for part in parts]
    return np.concatenate(found).astype(np.float32)


def _standard(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(1, keepdims=True)) / np.maximum(scores.std(1, keepdims=True), 1e-9)


def moved(users: Users, sizes: tuple[float, float], seed: int, hurt: int) -> np.ndarray:
    """float32 [U, N], the scores of a challenger.

    Args:
        users: with the champion's scores.
        sizes: how far scores move towards the known preference outside of ``hurt`` and in it; below 0: towards noise.
        seed: of the noise.
        hurt: a segment; -1: none.
    """
    rng = np.random.default_rng([seed, 1])
    noise, jitter = rng.normal(size=(2, users.scores.shape[1])).astype(np.float32)  # an item is worse for everybody
    each = np.where(users.segment == hurt, sizes[1], sizes[0]).astype(np.float32)[:, None]
    towards = _standard(np.log(np.maximum(users.wanted, 1e-6)))
    return users.scores + np.maximum(each, 0) * towards + np.maximum(-each, 0) * noise + np.float32(JITTER) * jitter


def best(users: Users, scores: np.ndarray) -> np.ndarray:
    """int [U, K], the best items not seen."""
    masked = np.where(users.seen, -np.inf, scores)
    top = np.argpartition(-masked, K, 1)[:, :K]
    order = np.argsort(-np.take_along_axis(masked, top, 1), 1, kind="stable")
    return np.take_along_axis(top, order, 1)


def true_quality(users: Users, lists: np.ndarray) -> np.ndarray:
    """float [U], the expected DCG@10 under the known preference."""
    return np.take_along_axis(users.wanted, lists, 1) @ GAINS


def logged_quality(users: Users, lists: np.ndarray) -> np.ndarray:
    """float [U], NDCG@10 of the item that was bought."""
    return (lists == users.target[:, None]) @ GAINS


def sizes_of(users: Users, kind: Kind, seed: int, hurt: int) -> tuple[float, float]:
    """How far scores move outside of a segment and in it, so that the true differences are those of the kind."""
    if not kind.segment:
        return (_bisect(users, kind.effect, lambda size: moved(users, (size, size), seed, hurt)),) * 2
    inside = users.rows(users.segment == hurt)
    harm = _bisect(inside, kind.effect, lambda size: moved(inside, (size, size), seed, hurt))
    return _bisect(users, EFFECT, lambda size: moved(users, (size, harm), seed, hurt)), harm


def _bisect(users: Users, effect: float, scores: Callable[[float], np.ndarray]) -> float:
    base = true_quality(users, best(users, users.scores)).mean()
    low, high = -4.0, 4.0
    for _ in range(STEPS):
        size = (low + high) / 2
        enough = true_quality(users, best(users, scores(size))).mean() / base - 1 >= effect
        low, high = (low, size) if enough else (size, high)
    return (low + high) / 2


class Trial(NamedTuple):
    """A challenger before the gate."""

    kind: Kind
    true: float
    """Its true relative difference on the test's users, in its segment or over all."""
    promoted: bool
    deviation: float
    """Of the paired difference of users."""
    mean: float
    """Of the champion's metric."""
    words: str


def trial(tuning: Users, test: Users, kind: Kind, seed: int) -> Trial:
    """Makes a challenger, and asks the gate."""
    hurt = seed % SEGMENTS if kind.segment else -1
    sizes = sizes_of(tuning, kind, seed, hurt)
    old, new = best(test, test.scores), best(test, moved(test, sizes, seed, hurt))
    inside = test.segment == hurt if kind.segment else np.ones(len(old), bool)
    truth = [true_quality(test, lists)[inside].mean() for lists in (old, new)]
    champion, challenger = logged_quality(test, old), logged_quality(test, new)
    items = test.scores.shape[1]
    covered = [len(np.unique(lists)) / items for lists in (old, new)]
    decision = gate.decide(
        Side(champion, coverage=covered[0]),
        Side(challenger, coverage=covered[1]),
        {"category before": test.segment},
        Margins(),
    )
    gap = (challenger - champion)[inside]
    return Trial(
        kind,
        float(truth[1] / truth[0] - 1),
        decision.promote,
        float(gap.std()),
        float(champion[inside].mean()),
        decision.words,
    )


def users_needed(pilots: list[Trial], share: float) -> int:
    """Users of the test, so that each kind is decided rightly with probability ``POWER``."""
    margins = Margins()
    found = []
    for pilot in pilots:
        margin = margins.segment if pilot.kind.segment else margins.quality
        tests = SEGMENTS if pilot.kind.segment else 1
        if pilot.kind.good or pilot.kind.segment:
            need = gate.users_needed(pilot.deviation, pilot.mean, pilot.kind.effect, margin, tests=tests, power=POWER)
            found.append(need / (share if pilot.kind.segment else 1))
    return int(np.ceil(max(found)))


def expected_promotions(trials: list[Trial], users: int) -> float:
    """Probability of a promotion by the normal approximation, for the mean trial of a kind."""
    margin = Margins().quality
    deviation, mean = (float(np.mean([getattr(one, name) for one in trials])) for name in ("deviation", "mean"))
    effect = float(np.mean([one.true for one in trials]))
    return float(ndtr((effect + margin) * mean * users**0.5 / deviation - 1.645))


def main() -> None:
    """Runs the challengers and writes their rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller shop and fewer challengers")
    parser.add_argument("--challengers", type=int, default=40, help="half of them are truly worse")
    parser.add_argument("--users", type=int, default=40_000, help="of the shop; the test takes what it needs")
    parser.add_argument("--seed", type=int, default=0, help="of the shop and of the challengers")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    count = 8 if flags.quick else flags.challengers
    people = 24_000 if flags.quick else flags.users
    shop = Shop(users=people, items=300, interactions=people * 12)
    everyone = build(shop, flags.seed)
    print(f"champion: {len(everyone.target):,} users", flush=True)
    tuning, rest = everyone.rows(slice(0, TUNING)), everyone.rows(slice(TUNING, None))
    pilots = [trial(tuning, rest.rows(slice(0, TUNING)), kind, 1000 + number) for number, kind in enumerate(KINDS)]
    share = float(np.bincount(rest.segment).min() / len(rest.segment))
    needed = users_needed(pilots, share)
    users = min(needed, len(rest.target) - TUNING)
    print(f"users by the power calculation: {needed:,}; of the test: {users:,}", flush=True)
    test = rest.rows(slice(TUNING, TUNING + users))
    rows = _rows(test, tuning, count, flags.seed, needed)
    record.write(flags.json, rows, ("numpy", "scipy"))
    for row in rows:
        print(f"{row['case']}: {row['ours']} {row['unit']}" + (f" of {row['of']}" if "of" in row else ""))


def _rows(test: Users, tuning: Users, count: int, seed: int, needed: int) -> list[dict[str, Any]]:
    plan = [KINDS[0]] * (count // 2) + [KINDS[1 + number % 2] for number in range(count - count // 2)]
    trials = []
    for number, kind in enumerate(plan):
        started = time.monotonic()
        trials.append(trial(tuning, test, kind, 100 * seed + number))
        found = trials[-1]
        print(
            f"{number} {kind.name}: truly {found.true:+.2%}, promoted: {found.promoted} "
            f"({time.monotonic() - started:.0f} s) {found.words}",
            flush=True,
        )
    users = record.row("users of the test", "users", len(test.target), needed=needed, power=POWER)
    return [users, *(row for kind in KINDS for row in _of_kind(trials, kind, len(test.target)))]


def _of_kind(trials: list[Trial], kind: Kind, users: int) -> list[dict[str, Any]]:
    own = [one for one in trials if one.kind == kind]
    right = sum(one.promoted == kind.good for one in own)
    true = [round(one.true, 4) for one in own]
    unit = "promoted" if kind.good else "refused"
    rows = [record.row(f"challengers {kind.name}", unit, right, of=len(own), true=true)]
    if not kind.segment:
        chance = round(expected_promotions(own, users), 3)
        rows.append(record.row(f"challengers {kind.name}", "promoted, by the normal approximation", chance))
    return rows


if __name__ == "__main__":
    main()
