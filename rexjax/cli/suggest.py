"""Which keys a misspelt one may have meant."""

from collections.abc import Iterable

MOST = 3
"""Suggestions for one key."""


def edit_distance(first: str, second: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours between two words (optimal string alignment)."""
    above: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        before, above, row = above, row, [i]
        for j, other in enumerate(second, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
    return row[len(second)]


def nearest(word: str, known: Iterable[str], most: int = MOST) -> list[str]:
    """The dotted keys that ``word`` may have meant, best first: those of its last name, then those spelt like it.

    A last name also counts as the same where it is the initials (``lr``) or a word (``rate``) of the other. Keys of the
    same stage come before keys of another.
    """
    stage, last = word.partition(".")[0], word.rpartition(".")[2]
    scored = []
    for key in known:
        likeness = _of_last_names(last, key.rpartition(".")[2])
        distance = edit_distance(word, key)
        if likeness is not None or distance <= max(2, len(word) // 5):
            other_stage = "." in word and key.partition(".")[0] != stage
            scored.append((other_stage, 2 if likeness is None else likeness, distance, key))
    scored.sort()
    return [key for other_stage, *_, key in scored if other_stage == scored[0][0]][:most]


def _of_last_names(last: str, other: str) -> int | None:
    """0: the same name; 1: nearly; None: another one."""
    if last == other:
        return 0
    words = other.split("-")
    initials = "".join(part[0] for part in words if part)
    if last in words or last == initials or edit_distance(last, other) <= len(last) // 4:
        return 1
    return None
