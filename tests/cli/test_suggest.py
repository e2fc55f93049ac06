import functools

import pytest

from rexjax.cli import suggest


def slow_distance(first, second):
    """By the definition."""

    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        ways = [
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (first[i - 1] != second[j - 1]),
        ]
        if i > 1 and j > 1 and first[i - 2 : i] == second[j - 2 : j][::-1]:
            ways.append(distance(i - 2, j - 2) + 1)
        return min(ways)

    return distance(len(first), len(second))


@pytest.mark.parametrize(
    ("first", "second"), [("", ""), ("abc", ""), ("width", "widht"), ("kitten", "sitting"), ("ca", "abc"), ("a", "b")]
)
def test_edit_distance(first, second):
    assert suggest.edit_distance(first, second) == slow_distance(first, second) == suggest.edit_distance(second, first)


KNOWN = ["seed", "a.width", "b.width", "b.training.learning-rate", "a.training.learning-rate", "b.deep.width", "b.k"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("b.model.width", ["b.deep.width", "b.width"]),
        ("a.lr", ["a.training.learning-rate"]),
        ("a.rate", ["a.training.learning-rate"]),
        ("lr", ["a.training.learning-rate", "b.training.learning-rate"]),
        ("sede", ["seed"]),
        ("c.width", ["a.width", "b.width", "b.deep.width"]),
        ("nothing.like-it", []),
    ],
)
def test_nearest_keys(word, expected):
    assert suggest.nearest(word, KNOWN) == expected
