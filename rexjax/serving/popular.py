"""The catalogue in the order of popularity, whole and by category, and what of it a request allows.

A request without a known history is answered from these orders in time that depends on the request alone, not on the
number of items. Only ``mask`` reads the whole catalogue: the engine calls it on the model's thread.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import NamedTuple

import numpy as np

_MASKS = 64
"""Sets of categories whose masks are kept, of N bytes each."""


class Allowed(NamedTuple):
    """What may be answered; a field that is None allows everything."""

    only: np.ndarray | None = None
    """int32, dense ids."""
    categories: frozenset[int] | None = None
    """Numbers of categories."""


class Popular:
    """N items; ties of popularity are broken by the smaller dense id."""

    def __init__(self, share: np.ndarray, category_of: np.ndarray, categories: int = 1) -> None:
        """Sorts the catalogue once.

        Args:
            share: float [N], of all interactions.
            category_of: int32 [N], from 0 to ``categories`` - 1.
            categories: how many there are.
        """
        self.order = np.argsort(-share, kind="stable").astype(np.int32)
        """int32 [N], dense ids."""
        self._rank = np.empty_like(self.order)
        self._rank[self.order] = np.arange(len(self.order), dtype=np.int32)
        self._category_of, few = category_of, np.uint16 if categories <= 1 << 16 else np.int32  # radix-sorted
        by_category = np.argsort(category_of[self.order].astype(few), kind="stable")
        self._by_category = self.order[by_category]
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(category_of, minlength=categories))])
        # nothing of it may refer to this object, which would live on in that circle after a swap
        self._of_categories = lru_cache(_MASKS)(partial(_in_categories, category_of))

    def top(self, k: int, exclude: Sequence[int], allowed: Allowed | None = None) -> np.ndarray:
        """The k most popular items that are allowed and not in ``exclude`` (dense ids): int32 [K], K ≤ k.

        >>> popular = Popular(np.asarray([0.1, 0.4, 0.2, 0.3]), np.asarray([0, 1, 0, 1]), 2)
        >>> popular.top(2, [1]).tolist(), popular.top(2, [1], Allowed(categories=frozenset({0}))).tolist()
        ([3, 2], [2, 0])
        """
        without = frozenset(exclude)
        found = self._candidates(k, without, allowed or Allowed())
        left = (item for item in found.tolist() if item not in without)
        return np.fromiter(islice(left, k), np.int32)

    def mask(self, allowed: Allowed) -> np.ndarray:
        """The items that are allowed, bool [N], not to be written to. It reads the whole catalogue."""
        if allowed.only is None:
            return self._of_categories(allowed.categories)
        found = np.zeros(len(self.order), bool)
        found[self._within(allowed.only, allowed.categories)] = True
        return found

    def _candidates(self, k: int, without: frozenset[int], allowed: Allowed) -> np.ndarray:
        """Enough of the allowed items that k are left of them without some, the most popular first."""
        if allowed.only is not None:
            return self._sorted(self._within(allowed.only, allowed.categories))
        if allowed.categories is None:
            return self.order[: k + len(without)]
        lost = Counter(self._category_of[np.fromiter(without, np.int32)].tolist())
        heads = [self._head(number, k + lost[number]) for number in allowed.categories]
        return self._sorted(np.concatenate(heads))

    def _head(self, category: int, most: int) -> np.ndarray:
        start, end = self._starts[category : category + 2]
        return self._by_category[start : min(end, start + most)]

    def _sorted(self, items: np.ndarray) -> np.ndarray:
        """Each once, the most popular first."""
        ranks = np.sort(self._rank[items])
        return self.order[ranks[np.diff(ranks, prepend=-1) != 0]]

    def _within(self, items: np.ndarray, categories: frozenset[int] | None) -> np.ndarray:
        return items if categories is None else items[np.isin(self._category_of[items], [*categories])]


def _in_categories(category_of: np.ndarray, categories: frozenset[int] | None) -> np.ndarray:
    """The items of some categories, or all: bool [N], not to be written to."""
    found = np.ones(len(category_of), bool) if categories is None else np.isin(category_of, [*categories])
    found.flags.writeable = False
    return found
