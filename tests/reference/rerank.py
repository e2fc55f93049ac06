"""Re-ranking by its definitions, in float64: each next item makes the value of the list largest."""

from collections.abc import Callable

import numpy as np


def greedy(scores: np.ndarray, k: int, value: Callable[[int, list[int], int], float]) -> np.ndarray:
    """Places [B, k] of the best next candidates by ``value(user, taken, candidate)``; -inf: it may not be taken."""
    lists = np.full((len(scores), k), -1)
    for user, row in enumerate(scores):
        taken: list[int] = []
        for place in range(k):
            free = [at for at in np.flatnonzero(row > -np.inf) if at not in taken]
            values = [value(user, taken, at) for at in free]
            if not values or max(values) == -np.inf:
                break
            taken.append(int(free[int(np.argmax(values))]))
            lists[user, place] = taken[-1]
    return lists


def strengths(strength: float | np.ndarray, users: int) -> np.ndarray:
    """float64 [B]."""
    return np.broadcast_to(np.asarray(strength, np.float64), (users,))


def mmr(scores: np.ndarray, vectors: np.ndarray, k: int, strength: float | np.ndarray) -> np.ndarray:
    """(1 - s) score - s max cosine."""
    scores, vectors, s = (
        np.asarray(scores, np.float64),
        np.asarray(vectors, np.float64),
        strengths(strength, len(scores)),
    )

    def value(user: int, taken: list[int], at: int) -> float:
        likeness = max((vectors[user, at] @ vectors[user, other] for other in taken), default=0.0)
        return (1 - s[user]) * scores[user, at] - s[user] * likeness

    return greedy(scores, k, value)


def dpp(scores: np.ndarray, vectors: np.ndarray, k: int, strength: float | np.ndarray) -> np.ndarray:
    """(1 - s) sum of scores + s log det of the taken items' cosines, by determinants."""
    scores, vectors, s = (
        np.asarray(scores, np.float64),
        np.asarray(vectors, np.float64),
        strengths(strength, len(scores)),
    )

    def value(user: int, taken: list[int], at: int) -> float:
        items = [*taken, at]
        cosines = vectors[user, items] @ vectors[user, items].T
        np.fill_diagonal(cosines, 1)
        return (1 - s[user]) * scores[user, items].sum() + s[user] * np.linalg.slogdet(cosines)[1]

    return greedy(scores, k, value)


def xquad(scores: np.ndarray, shares: np.ndarray, own: np.ndarray, k: int, strength: float | np.ndarray) -> np.ndarray:
    """(1 - s) score + s of what the user's categories are not covered by."""
    scores, shares, own = (np.asarray(array, np.float64) for array in (scores, shares, own))
    s = strengths(strength, len(scores))

    def value(user: int, taken: list[int], at: int) -> float:
        uncovered = np.prod(1 - shares[user, taken], axis=0)
        return (1 - s[user]) * scores[user, at] + s[user] * (own[user] * shares[user, at] * uncovered).sum()

    return greedy(scores, k, value)


def divergence(own: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """KL(own, .99 list + .01 own)."""
    own, listed = np.asarray(own, np.float64), np.asarray(listed, np.float64)
    return np.asarray(
        [
            sum(p * np.log(p / (0.99 * q + 0.01 * p)) for p, q in zip(*pair, strict=True) if p)
            for pair in zip(own, listed, strict=True)
        ]
    )


def calibrated(
    scores: np.ndarray, shares: np.ndarray, own: np.ndarray, k: int, strength: float | np.ndarray
) -> np.ndarray:
    """(1 - s) sum of scores - s KL of the whole list."""
    scores, shares, own = (np.asarray(array, np.float64) for array in (scores, shares, own))
    s = strengths(strength, len(scores))

    def value(user: int, taken: list[int], at: int) -> float:
        items = [*taken, at]
        apart = divergence(own[user][None], shares[user, items].mean(0)[None])[0]
        return (1 - s[user]) * scores[user, items].sum() - s[user] * apart

    return greedy(scores, k, value)


def quota(
    scores: np.ndarray,
    categories: np.ndarray,
    k: int,
    strength: float | np.ndarray,
    *,
    groups: int,
    least: np.ndarray | None = None,
) -> np.ndarray:
    """The best by score of those after which the quotas can still be met."""
    s = strengths(strength, len(scores))

    def value(user: int, taken: list[int], at: int) -> float:
        most, own = np.ceil(k - s[user] * (k - 1) - 1e-4), categories[user]
        items = [*taken, at]
        if own[at] >= 0 and (own[items] == own[at]).sum() > most:
            return -np.inf
        open_places = 0
        for group in range(groups):
            there = ((own == group) & (scores[user] > -np.inf)).sum()
            wanted = min(0 if least is None else least[group], there, most)
            open_places += max(wanted - (own[items] == group).sum(), 0)
        return -np.inf if open_places > k - len(items) else scores[user, at]

    return greedy(scores, k, value)


def capped(scores: np.ndarray, items: np.ndarray, k: int, strength: float, *, total: int) -> np.ndarray:
    """User after user, by score, of the items that are not in ``cap`` lists yet."""
    users, counts = len(scores), np.zeros(total)
    cap = np.ceil(users * (k / total) ** strength - 1e-3)
    lists = np.full((users, k), -1)
    for user in range(users):
        order = [at for at in np.argsort(-scores[user], kind="stable") if scores[user, at] > -np.inf]
        open_items = [at for at in order if counts[items[user, at]] < cap][:k]
        lists[user, : len(open_items)] = open_items
        counts[items[user, open_items]] += 1
    return lists
