import time

import numpy as np
import pytest

from rexjax.serving.popular import Allowed, Popular
from tests.reference.serving import most_popular

N, CATEGORIES = 500, 7
RNG = np.random.default_rng(0)
SHARE = np.round(RNG.random(N), 2)  # with ties
OF = RNG.integers(0, CATEGORIES, N).astype(np.int32)
POPULAR = Popular(SHARE, OF, CATEGORIES)
SOME = RNG.integers(0, N, 40).astype(np.int32)


@pytest.mark.parametrize("only", [None, SOME, SOME[:0]], ids=["all", "only", "none"])
@pytest.mark.parametrize("categories", [None, {0}, {1, 6}, {*range(CATEGORIES)}])
@pytest.mark.parametrize("exclude", [[], [3, 3, 9], [*range(400)]], ids=["nothing", "few", "many"])
def test_it_finds_what_a_look_at_the_whole_catalogue_finds(only, categories, exclude):
    allowed = Allowed(only, None if categories is None else frozenset(categories))
    for k in (1, 10, 600):
        expected = most_popular(SHARE, OF, k, exclude, only, categories)
        assert POPULAR.top(k, exclude, allowed).tolist() == expected


@pytest.mark.parametrize("only", [None, SOME])
@pytest.mark.parametrize("categories", [None, {2, 3}])
def test_a_mask_has_what_is_allowed(only, categories):
    found = POPULAR.mask(Allowed(only, None if categories is None else frozenset(categories)))
    expected = [(only is None or item in only) and (categories is None or OF[item] in categories) for item in range(N)]
    assert found.tolist() == expected


def test_masks_of_categories_are_kept_and_not_written_to():
    first, second = (POPULAR.mask(Allowed(None, frozenset(names))) for names in ((1, 2), (2, 1)))
    assert first is second and not first.flags.writeable


def test_the_time_does_not_grow_with_the_catalogue():
    """CPU time of one thread, so that what else runs on the machine does not count."""
    items, categories = 1_000_000, 200
    share = np.random.default_rng(1).random(items)
    popular = Popular(share, (np.arange(items) % categories).astype(np.int32), categories)
    many = np.arange(10_000, dtype=np.int32)
    asked = [
        (10, [1, 2], None),
        (10, [], Allowed(categories=frozenset(range(64)))),
        (100, many.tolist(), None),
        (10, [], Allowed(only=many)),
    ]
    for request in asked:
        started = time.thread_time()
        for _ in range(5):
            popular.top(*request)
        assert (time.thread_time() - started) / 5 < 0.004, request[0]
