"""Where the targets of users stand, tie group by tie group, and expectations over every order of tied items.

A ranking is known here only by two numbers for each relevant item (target): ``greater``, how many candidates score
strictly above it, and ``equal``, how many *other* candidates have its very score. Targets of one user are candidates
too. Ties are broken uniformly at random, and all results are expectations over that choice (McSherry & Najork,
"Computing information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008), so that a
constant scorer gets what a random order gets, never rank 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

Ties = Literal["expected", "best", "worst"]
_PADDING = np.iinfo(np.int64).max // 4  # ranks last, and a few additions to it cannot overflow


@dataclass(frozen=True, eq=False)
class TieGroups:
    """Targets of each user by rising rank, with the tie group each of them is in; what metrics share is kept."""

    above: np.ndarray
    """int64 [U, T], candidates above the group."""
    size: np.ndarray
    """int64 [U, T], candidates in the group."""
    relevant: np.ndarray
    """int64 [U, T], targets in the group."""
    before: np.ndarray
    """int64 [U, T], targets above the group."""
    mask: np.ndarray
    """bool [U, T], False at padding."""
    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def targets(self) -> np.ndarray:
        """Targets of each user: int64 [U]."""
        return self.mask.sum(axis=1)

    def hits(self, k: int) -> np.ndarray:
        """Expected targets among the first k: float64 [U]."""
        return self._once(("hits", k), lambda: self.total_gain(np.ones(k)))

    def total_gain(self, gains: np.ndarray) -> np.ndarray:
        """Expected sum of ``gains[rank - 1]`` over the targets among the first k = ``len(gains)``: float64 [U].

        Any place in its group is as likely for a target.
        """
        low, high = self.window(len(gains))
        total = np.concatenate([[0.0], np.cumsum(gains)])
        return np.where(self.mask, (total[high] - total[low]) / self.size, 0).sum(axis=1)

    def window(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The part (low, high] of the first k ranks that each target's group takes up: int64 [U, T] both."""
        return self._once(("window", k), lambda: (np.minimum(self.above, k), np.minimum(self.above + self.size, k)))

    def no_hit(self, k: int) -> np.ndarray:
        """Probability that no target is among the first k: float64 [U]."""
        return self._of_first_hit(k, 0)

    def first_hit(self, k: int) -> np.ndarray:
        """Expected 1 / rank of the first target, 0 where that is beyond k: float64 [U]."""
        return self._of_first_hit(k, 1)

    def _of_first_hit(self, k: int, part: int) -> np.ndarray:
        if "first" not in self._known or self._known["first"][0].shape[1] <= k:
            self._known["first"] = _first_hit(self, k)
        return self._known["first"][part][np.arange(len(self.above)), np.maximum(k - self.above[:, 0], 0)]

    def _once(self, key: tuple[str, int], compute: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


def group_ties(greater: np.ndarray, equal: np.ndarray, mask: np.ndarray, ties: Ties = "expected") -> TieGroups:
    """Sorts the targets by rank and finds the runs of one rank, which are the tie groups.

    Args:
        greater: [U, T], candidates that score strictly above the target; integers in any dtype.
        equal: [U, T], other candidates with the target's score; alike for the targets of one tie group.
        mask: bool [U, T], False at padding.
        ties: ``expected`` over all orders of ties, or the ``best`` or ``worst`` order for the targets.

    Raises:
        ValueError: shapes that differ, a user without target, or another way to break ties.
    """
    mask = np.asarray(mask, bool)
    _check(np.asarray(greater), np.asarray(equal), mask, ties)
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
    return _resolve(TieGroups(above, size, end - before + 1, before, mask), ties)


def _check(greater: np.ndarray, equal: np.ndarray, mask: np.ndarray, ties: Ties) -> None:
    for name, array in ("greater", greater), ("equal", equal):
        if mask.ndim != 2 or array.shape != mask.shape:
            raise ValueError(f"{name} has shape {array.shape} and mask {mask.shape}: both must be [U, T]")
    if not mask.any(axis=1).all():
        raise ValueError(f"mask: {int((~mask.any(axis=1)).sum())} of {len(mask)} users have no target, leave them out")
    if ties not in get_args(Ties):
        raise ValueError(f"ties is {ties!r}: it must be one of {', '.join(get_args(Ties))}")


def _resolve(groups: TieGroups, ties: Ties) -> TieGroups:
    """For best and worst: every target gets a rank of its own within its group, first or last in it."""
    if ties == "expected":
        return groups
    position = np.arange(groups.above.shape[1])[None, :]
    shift = position - groups.before + (groups.size - groups.relevant if ties == "worst" else 0)
    one = np.ones_like(groups.size)
    before = np.broadcast_to(position, one.shape)
    return TieGroups(groups.above + np.where(groups.mask, shift, 0), one, one, before, groups.mask)


def _first_hit(groups: TieGroups, k: int) -> tuple[np.ndarray, np.ndarray]:
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
