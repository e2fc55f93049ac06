"""Slow twins of what the server answers."""


def most_popular(share, category_of, k, exclude, only, categories):
    """Dense ids of the k most popular items that are allowed, by a look at each of them."""
    allowed = [
        item
        for item in range(len(share))
        if item not in exclude
        and (only is None or item in only)
        and (categories is None or category_of[item] in categories)
    ]
    return sorted(allowed, key=lambda item: (-share[item], item))[:k]


def changed_rows(old, new):
    """Numbers of the rows that another row of bytes, or zeros past the end, stood in before."""
    before = [list(row) for row in old] + [[0] * new.shape[1]] * len(new)
    return [number for number, row in enumerate(new) if list(row) != before[number]]
