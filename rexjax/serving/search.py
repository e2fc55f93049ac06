"""Finds items by a part of their title or id, the most popular first, by looking through all of them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

_END = "\n"  # folded texts have none
ITEMS_PER_PIECE = 1 << 14
"""Items looked through at once, a few milliseconds in which no other thread runs."""


class _Piece(NamedTuple):
    items: list[int]
    text: bytes
    """Of all of them."""
    ends: np.ndarray
    """Where each one's ends."""


class Search:
    """All titles and ids, in any case and with any white space."""

    def __init__(self, titles: Sequence[str], item_ids: Sequence[str], order: Iterable[int]) -> None:
        """Of items by dense id; ``order`` is that in which they are found, all dense ids."""

        def piece(items: list[int]) -> _Piece:
            texts = [f"{_folded(titles[i])}{_END}{_folded(item_ids[i])}{_END}".encode() for i in items]
            return _Piece(items, b"".join(texts), np.cumsum([len(text) for text in texts]))

        every = [int(item) for item in order]
        starts = range(0, len(every), ITEMS_PER_PIECE)
        self._pieces = [piece(every[start : start + ITEMS_PER_PIECE]) for start in starts]

    def find(self, text: str, k: int) -> list[int]:
        """Dense ids of the first k items that hold ``text``."""
        wanted, found = _folded(text).encode(), []
        for piece in self._pieces:
            at = 0
            while len(found) < k and 0 <= (at := piece.text.find(wanted, at)) < len(piece.text):
                place = int(np.searchsorted(piece.ends, at, side="right"))
                found.append(piece.items[place])
                at = int(piece.ends[place])
        return found


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
