"""Finds items by a part of their title or id: one look through one piece of memory, the most popular items first."""

from collections.abc import Iterable, Sequence

import numpy as np

_END = "\n"  # folded texts have none


class Search:
    """All titles and ids, in any case and with any white space."""

    def __init__(self, titles: Sequence[str], item_ids: Sequence[str], order: Iterable[int]) -> None:
        """Of items by dense id; ``order`` is that in which they are found, all dense ids."""
        self._order = list(order)
        texts = [f"{_folded(titles[i])}{_END}{_folded(item_ids[i])}{_END}".encode() for i in self._order]
        self._text = b"".join(texts)
        self._ends = np.cumsum([len(text) for text in texts])

    def find(self, text: str, k: int) -> list[int]:
        """Dense ids of the first k items that hold ``text``."""
        wanted, found, at = _folded(text).encode(), [], 0
        while len(found) < k and (at := self._text.find(wanted, at)) >= 0 and at < len(self._text):
            place = int(np.searchsorted(self._ends, at, side="right"))
            found.append(self._order[place])
            at = int(self._ends[place])
        return found


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
