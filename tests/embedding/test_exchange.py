import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.embedding.exchange import Wire, dedupe
from tests.reference.embedding import distinct


@pytest.mark.parametrize("ids", [[3, 1, 3, 0], [2, 2, 2, 2], [-1, -1, -1], [9, 4, -1, 4, 12], [0]])
def test_dedupe_sorts_and_names_each_place(ids):
    found = dedupe(jnp.asarray(ids, jnp.int32), 10)
    expected = distinct(ids, 10)
    assert found.ids[: len(expected)].tolist() == expected
    padding = np.asarray(found.ids[len(expected) :])
    assert (padding >= 10).all() and len(set(padding.tolist())) == len(padding)
    for i, place in zip(ids, found.inverse, strict=True):
        assert found.ids[place] == i if 0 <= i < 10 else found.ids[place] >= 10


@pytest.mark.parametrize(
    "shards, n, capacity, bucket", [(1, 9, 1.0, 9), (8, 4096, 1.25, 640), (8, 4, 0.01, 1), (2, 4, 9.0, 4)]
)
def test_buckets(shards, n, capacity, bucket):
    assert Wire(("data",), shards, 100, capacity).bucket(n) == bucket
