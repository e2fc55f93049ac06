"""Ranking metrics from rank counts, averaged exactly over every order of tied items.

A ranking is known here only by two numbers for each relevant item (target): ``greater``, how many candidates score
strictly above it, and ``equal``, how many *other* candidates have its very score. Targets of one user are candidates
too. Ties are broken uniformly at random, and the metrics are the expectations over that choice (McSherry & Najork,
"Computing information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008), so that a
constant scorer gets what a random order gets, never rank 1.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

Ties = Literal["expected", "best", "worst"]
_PADDING = np.iinfo(np.int64).max // 4  # ranks last, and a few additions to it cannot overflow


class _Groups(NamedTuple):
    """Targets of each user by rising rank, with the tie group each of them is in; all int64 [U, T]."""

    above: np.ndarray  # a: candidates above the group
    size: np.ndarray  # g: candidates in the group
    relevant: np.ndarray  # m: targets in the group
    before: np.ndarray  # c: targets above the group
    mask: np.ndarray  # bool


def per_user(
    greater: np.ndarray, equal: np.ndarray, mask: np.ndarray, ks: Sequence[int], ties: Ties = "expected"
) -> dict[str, np.ndarray]:
    """Metrics at each cutoff for each user.

    With T_u targets and hits = targets among the first k: precision = hits / k, recall = hits / T_u,
    f1 = 2 hits / (k + T_u), hit_rate = [hits > 0], mrr = 1 / rank of the first hit, map = average precision over
    min(T_u, k), ndcg = binary gains with log2 discounts over the ideal of min(T_u, k) targets (Järvelin & Kekäläinen,
    TOIS 2002).

    Args:
      greater: [U, T], candidates that score strictly above the target; integers in any dtype.
      equal: [U, T], other candidates with the target's score; alike for the targets of one tie group.
      mask: bool [U, T], False at padding.
      ks: cutoffs, each at least 1.
      ties: ``expected`` over all orders of ties, or the ``best`` or ``worst`` order for the targets.

    Returns:
      ``{"ndcg@10": float64 [U], ...}`` for precision, recall, f1, hit_rate, ndcg, mrr and map, all between 0 and 1.

    Raises:
      ValueError: shapes that differ, a user without target, a cutoff below 1, or another way to break ties.

    >>> import numpy as np
    >>> greater, equal, mask = np.asarray([[0], [3]]), np.zeros((2, 1)), np.ones((2, 1), bool)
    >>> metrics = per_user(greater, equal, mask, ks=[2])  # ranks 1 and 4
    >>> metrics["ndcg@2"].tolist(), metrics["mrr@2"].tolist()
    ([1.0, 0.0], [1.0, 0.0])
    """
    greater, equal, mask = np.asarray(greater), np.asarray(equal), np.asarray(mask, bool)
    _check(greater, equal, mask, ks, ties)
    groups = _resolve(_groups(greater, equal, mask), ties)
    targets = mask.sum(axis=1)
    none_yet, reciprocal = _first_hit(groups, max(ks, default=1))
    values = {}
    for k in ks:
        hits = _over_targets(np.ones(k), groups, k)
        reach = np.clip(k - groups.above[:, 0], 0, max(ks))[:, None]
        values[f"precision@{k}"] = hits / k
        values[f"recall@{k}"] = hits / targets
        values[f"f1@{k}"] = 2 * hits / (k + targets)
        values[f"hit_rate@{k}"] = 1 - np.take_along_axis(none_yet, reach, axis=1)[:, 0]
        discounts, ideal = _discounts(k), np.minimum(targets, k)
        values[f"ndcg@{k}"] = _over_targets(discounts, groups, k) / np.cumsum(discounts)[ideal - 1]
        values[f"mrr@{k}"] = np.take_along_axis(reciprocal, reach, axis=1)[:, 0]
        values[f"map@{k}"] = _precision_sum(groups, k) / ideal
    return values


def mean(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean over users of each metric: ``{name: [U]}`` to ``{name: float}``."""
    return {name: float(np.mean(value)) for name, value in values.items()}


def coverage(lists: np.ndarray, items: int) -> float:
    """Share of the catalogue that appears in at least one list.

    Args:
      lists: int32 [U, K], recommended items, -1 for padding.
      items: N, size of the catalogue.

    Returns:
      Distinct recommended items / N.

    Raises:
      TypeError: ids that are no integers.
      ValueError: an id beyond the catalogue.

    >>> import numpy as np
    >>> coverage(np.asarray([[0, 1], [1, -1]]), items=4)
    0.5
    """
    distinct = np.unique(lists)
    if not np.issubdtype(distinct.dtype, np.integer):
        raise TypeError(f"lists has dtype {distinct.dtype}: item ids are integers")
    if distinct.size and not -1 <= distinct[0] <= distinct[-1] < items:
        raise ValueError(
            f"lists holds ids from {distinct[0]} to {distinct[-1]}: with {items} items they go from 0 to {items - 1}, "
            "and -1 is padding"
        )
    return float((distinct >= 0).sum() / items)


def _check(greater: np.ndarray, equal: np.ndarray, mask: np.ndarray, ks: Sequence[int], ties: Ties) -> None:
    for name, array in ("greater", greater), ("equal", equal):
        if mask.ndim != 2 or array.shape != mask.shape:
            raise ValueError(f"{name} has shape {array.shape} and mask {mask.shape}: both must be [U, T]")
    if not mask.any(axis=1).all():
        raise ValueError(f"mask: {int((~mask.any(axis=1)).sum())} of {len(mask)} users have no target, leave them out")
    if any(k < 1 for k in ks):
        raise ValueError(f"ks holds {min(ks)}: cutoffs start at 1")
    if ties not in get_args(Ties):
        raise ValueError(f"ties is {ties!r}: it must be one of {', '.join(get_args(Ties))}")


def _discounts(k: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, k + 2))


def _groups(greater: np.ndarray, equal: np.ndarray, mask: np.ndarray) -> _Groups:
    """Sorts the targets by rank and finds the runs of one rank, which are the tie groups."""
    above = np.where(mask, np.asarray(greater).astype(np.int64), _PADDING)
    order = np.argsort(above, axis=1, kind="stable")
    above, mask = np.take_along_axis(above, order, 1), np.take_along_axis(mask, order, 1)
    size = 1 + np.where(mask, np.take_along_axis(np.asarray(equal).astype(np.int64), order, 1), 0)
    users, targets = above.shape
    position = np.broadcast_to(np.arange(targets), above.shape)
    new = np.concatenate([np.ones((users, 1), bool), above[:, 1:] != above[:, :-1]], axis=1)
    before = np.maximum.accumulate(np.where(new, position, 0), axis=1)
    last = np.concatenate([new[:, 1:], np.ones((users, 1), bool)], axis=1)
    end = np.minimum.accumulate(np.where(last, position, targets)[:, ::-1], axis=1)[:, ::-1]
    return _Groups(above, size, end - before + 1, before, mask)


def _resolve(groups: _Groups, ties: Ties) -> _Groups:
    """For best and worst: every target gets a rank of its own within its group, first or last in it."""
    if ties == "expected":
        return groups
    position = np.arange(groups.above.shape[1])[None, :]
    shift = position - groups.before + (groups.size - groups.relevant if ties == "worst" else 0)
    one = np.ones_like(groups.size)
    before = np.broadcast_to(position, one.shape)
    return _Groups(groups.above + np.where(groups.mask, shift, 0), one, one, before, groups.mask)


def _window(groups: _Groups, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The part (low, high] of the first k ranks that each target's group takes up."""
    return np.minimum(groups.above, k), np.minimum(groups.above + groups.size, k)


def _over_targets(gains: np.ndarray, groups: _Groups, k: int) -> np.ndarray:
    """Expected sum of ``gains[rank - 1]`` over the targets among the first k; any place in its group is as likely."""
    low, high = _window(groups, k)
    total = np.concatenate([[0.0], np.cumsum(gains)])
    return np.where(groups.mask, (total[high] - total[low]) / groups.size, 0).sum(axis=1)


def _precision_sum(groups: _Groups, k: int) -> np.ndarray:
    """Expected sum over the hits among the first k of (hits so far) / rank.

    Given that a target is the j-th of its group, (j - 1)(m - 1) / (g - 1) of the m - 1 others are expected before it;
    sum (j - 1) / (a + j) = count - (a + 1) sum 1 / (a + j) leaves only harmonic sums.
    """
    low, high = _window(groups, k)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, k + 1))])
    inverse = harmonic[high] - harmonic[low]
    others = (groups.relevant - 1) / np.maximum(groups.size - 1, 1)
    total = (groups.before + 1) * inverse + others * ((high - low) - (low + 1) * inverse)
    return np.where(groups.mask, total / groups.size, 0).sum(axis=1)


def _first_hit(groups: _Groups, k: int) -> tuple[np.ndarray, np.ndarray]:
    """P(no target) and E[1 / rank of the first target] among the first j of the first group; float64 [U, k + 1] over j.

    The first group decides alone: it holds a target, so whoever has seen all of it has seen a hit. P(no target) is
    C(g - j, m) / C(g, m), as a product that neither overflows nor cancels.
    """
    above, size, relevant = (x[:, :1].astype(np.float64) for x in (groups.above, groups.size, groups.relevant))
    passed = np.arange(k)[None, :]
    miss = np.maximum(size - relevant - passed, 0) / np.maximum(size - passed, 1)
    zero, one = np.zeros_like(above), np.ones_like(above)
    none_yet = np.concatenate([one, np.cumprod(miss, axis=1)], axis=1)
    gained = -np.diff(none_yet, axis=1) / (above + 1 + passed)
    return none_yet, np.concatenate([zero, np.cumsum(gained, axis=1)], axis=1)
