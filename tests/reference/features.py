"""Features the slow way: one value at a time, by the definitions."""

import bisect
import hashlib
import math
from collections import Counter

import numpy as np

FIRST = 2


def spell(value):
    """A raw value as text, None where it is missing."""
    if value is None or isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    text = str(value).strip()
    return None if text in ("", "nan", "NaN") else text


def vocabulary(texts, min_count=1, size=0):
    """Texts by falling frequency, ties in their own order."""
    counted = Counter(text for text in texts if text is not None)
    kept = sorted((text for text in counted if counted[text] >= min_count), key=lambda text: (-counted[text], text))
    return kept[: size or len(kept)]


def category(text, known, buckets=0):
    """The id of one text."""
    if text is None:
        return 1
    if text in known:
        return FIRST + known.index(text)
    if not buckets:
        return 0
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return FIRST + len(known) + int.from_bytes(digest, "little") % buckets


def bucket(number, bounds):
    """The id of one number's bucket."""
    return 1 if number is None or math.isnan(number) else FIRST + bisect.bisect_right(bounds, number)


def as_of(users, times, changes):
    """The row of ``changes`` [(user, time)] that holds for each event: the latest strictly before it; -1: none."""
    found = []
    for user, time in zip(users, times, strict=True):
        before = [(when, row) for row, (who, when) in enumerate(changes) if who == user and when < time]
        found.append(max(before)[1] if before else -1)
    return np.array(found)
