"""Rankings by sorting whole rows, and metrics from their definitions over every order of ties."""

import itertools
import math

import numpy as np

from rexjax.data.histories import Histories
from rexjax.evaluation.ranking import Requests


def lists(ids: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    """The list of each user."""
    return [ids[start:stop] for start, stop in itertools.pairwise(offsets)]


def count_ranks(scores: np.ndarray, seen: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates above each target and level with it, [B, T], counted one by one; seen and targets padded with -1."""
    greater, equal = np.zeros(targets.shape, int), np.zeros(targets.shape, int)
    for user, slot in np.argwhere(targets >= 0):
        target = targets[user, slot]
        for item, score in enumerate(scores[user]):
            if item != target and item not in seen[user]:
                greater[user, slot] += score > scores[user, target]
                equal[user, slot] += score == scores[user, target]
    return greater, equal


def evaluate(scores: np.ndarray, requests: Requests, ks: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Metrics of each user from whole rows of scores [U, N] without ties."""
    found = []
    relevant = lists(requests.target_items, requests.target_offsets)
    for user, seen in enumerate(lists(requests.seen_items, requests.seen_offsets)):
        kept = np.setdiff1d(np.arange(scores.shape[1]), seen)
        order = kept[np.argsort(-scores[user, kept], kind="stable")]
        hits = np.isin(order, relevant[user]).tolist()
        found.append({f"{name}@{k}": value for k in ks for name, value in metrics_of_order(hits, k).items()})
    return {name: np.asarray([values[name] for values in found]) for name in found[0]}


def metrics_of_order(relevant: list[bool], k: int) -> dict[str, float]:
    """Every metric from its definition, for one order of candidates."""
    total, top = sum(relevant), relevant[:k]
    hits = sum(top)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(total, k) + 1))
    return {
        "precision": hits / k,
        "recall": hits / total,
        "f1": 2 * hits / (k + total),
        "hit_rate": float(hits > 0),
        "ndcg": sum(1 / math.log2(rank + 1) for rank, hit in enumerate(top, 1) if hit) / ideal,
        "mrr": next((1 / rank for rank, hit in enumerate(top, 1) if hit), 0.0),
        "map": sum(sum(top[:rank]) / rank for rank, hit in enumerate(top, 1) if hit) / min(total, k),
        "map_of_all": sum(sum(top[:rank]) / rank for rank, hit in enumerate(top, 1) if hit) / total,
    }


def orders(scores: list[float], targets: list[int]) -> list[list[bool]]:
    """All orders of candidates that agree with the scores, as relevance lists."""
    found = []
    for order in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            found.append([item in targets for item in order])
    return found


def metrics_of_ties(scores: list[float], targets: list[int], ks: tuple[int, ...], ties: str) -> dict[str, float]:
    """Metrics of one user: the mean ("expected"), "best" or "worst" value over all orders of ties."""
    pick = {"expected": np.mean, "best": np.max, "worst": np.min}[ties]
    values = {}
    for k in ks:
        by_order = [metrics_of_order(order, k) for order in orders(scores, targets)]
        values |= {f"{name}@{k}": pick([found[name] for found in by_order]) for name in by_order[0]}
    return values


def padded(ids: np.ndarray, offsets: np.ndarray, rows: np.ndarray, least: int) -> np.ndarray:
    """The lists of ``rows``, padded with -1 to the smallest of least, 2 least, 4 least, … that holds them all."""
    chosen, width = [lists(ids, offsets)[row].tolist() for row in rows], least
    while width < max(map(len, chosen)):
        width *= 2
    return np.asarray([own + [-1] * (width - len(own)) for own in chosen])


def requests(histories: Histories, part: str, length: int) -> list[tuple[int, list[int], set[int], set[int]]]:
    """(user, latest items, seen items, targets) of every user who is asked for, user by user."""
    asked = []
    for user in range(histories.users):
        begin, end = histories.offsets[user], histories.offsets[user + 1]
        start = (histories.valid_start if part == "valid" else histories.test_start)[user]
        stop = histories.test_start[user] if part == "valid" else end
        before = histories.items[begin:start].tolist()
        targets = set(histories.items[start:stop].tolist()) - set(before)
        if before and targets:
            asked.append((user, before[-length:], set(before), targets))
    return asked


def target_events(histories: Histories, asked: Requests, part: str) -> list[int]:
    """The first event of the part with each target, user by user."""
    found = []
    for user, targets in zip(asked.features["user"], lists(asked.target_items, asked.target_offsets), strict=True):
        start, stop = histories.test_start[user], histories.offsets[user + 1]
        if part == "valid":
            start, stop = histories.valid_start[user], histories.test_start[user]
        own = histories.items[start:stop].tolist()
        found += [start + own.index(target) for target in targets]
    return found


def target_requests(asked: Requests) -> list[tuple[list[int], list[int], int]]:
    """(history, seen items, target) of every target, user by user."""
    seen = lists(asked.seen_items, asked.seen_offsets)
    return [
        (asked.histories[user].tolist(), seen[user].tolist(), target)
        for user, targets in enumerate(lists(asked.target_items, asked.target_offsets))
        for target in targets.tolist()
    ]


def snips(values: list[float], weights: list[float], owners: list[int]) -> tuple[float, float, float]:
    """The weighted mean, and 1.96 standard errors of a ratio of two sums over users on either side."""
    total = sum(weights)
    mean = sum(weight * value for weight, value in zip(weights, values, strict=True)) / total
    rests: dict[int, float] = {}
    for value, weight, owner in zip(values, weights, owners, strict=True):
        rests[owner] = rests.get(owner, 0.0) + weight * (value - mean)
    users = len(rests)
    error = math.sqrt(sum(rest**2 for rest in rests.values()) * users / (users - 1)) / total
    return mean, max(mean - 1.96 * error, 0), mean + 1.96 * error


def serendipity(row: list[int], seen: list[int], targets: list[int], popularity: np.ndarray) -> float:
    """Share of one list that is a target and is not among as many most popular unseen items."""
    unseen = [item for item in np.argsort(-popularity, kind="stable") if item not in seen]
    return sum(item in targets and item not in unseen[: len(row)] for item in row) / len(row)


def calibration_error(probabilities: np.ndarray, hits: np.ndarray, bins: int) -> float:
    """Users by rising probability in bins, the first ones a user larger where the counts cannot be equal."""
    order, total, start = np.argsort(probabilities, kind="stable"), 0.0, 0
    for bin_ in range(bins):
        size = len(order) // bins + (bin_ < len(order) % bins)
        inside = order[start : start + size]
        total += size * abs(hits[inside].mean() - probabilities[inside].mean())
        start += size
    return total / len(order)


def first_items(scores: np.ndarray, scale: float, asked: Requests) -> list[tuple[float, float, float]]:
    """(logit, probability, hit) of each user's best unseen item, from whole rows of scores [U, N]."""
    found = []
    both = lists(asked.seen_items, asked.seen_offsets), lists(asked.target_items, asked.target_offsets)
    for user, (seen, targets) in enumerate(zip(*both, strict=True)):
        kept = [item for item in range(scores.shape[1]) if item not in seen]
        logits = [scale * scores[user, item] for item in kept]
        best = max(logits)
        share = math.exp(best) / sum(math.exp(logit) for logit in logits)
        found.append((best, share, float(kept[logits.index(best)] in targets)))
    return found


def resampled_means(values: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """Bootstrap means, one resample after another."""
    rng = np.random.default_rng(seed)
    return np.asarray([rng.choice(values, len(values)).mean() for _ in range(resamples)])
