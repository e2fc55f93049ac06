import numpy as np
import pytest

from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Training
from rexjax.data import histories
from rexjax.data.histories import Histories
from rexjax.pipeline.stages import inputs

N = 6


def record(users, first_event: int) -> Histories:
    """Users as (train, valid, test)."""
    items, offsets, valid, test = [], [0], [], []
    for parts in users:
        valid.append(len(items) + len(parts[0]))
        test.append(valid[-1] + len(parts[1]))
        items += [item for part in parts for item in part]
        offsets.append(len(items))
    arrays = (np.asarray(x, np.int64) for x in (offsets, valid, test))
    return Histories(np.asarray(items, np.int32), np.arange(len(items), dtype=np.float64), *arrays, first_event)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Artifact:
    folder = tmp_path_factory.mktemp("prepare")
    first = record([([0, 1, 1], [2], [3]), ([], [4], [4]), ([0, 0], [], [])], 0)
    second = record([([3], [0], [0]), ([], [], []), ([1, 3], [3], [5])], len(first.items))
    histories.write(folder, [first, second])
    return Artifact(folder, {"metrics": {"items": N}})


def test_items_that_training_never_meets_are_not_scored_if_they_have_a_text(artifact):
    log, vectors = inputs.prepared(artifact), np.ones((N, 2), np.float32)
    vectors[4] = 0
    np.testing.assert_array_equal(inputs.catalogue(log, vectors).scored, [1, 1, 0, 1, 1, 0])
    assert inputs.catalogue(log, vectors[:, :0]).scored is None
    met = log._replace(popularity=log.popularity + 1)
    assert inputs.catalogue(met, vectors).scored is None


def test_popularity_counts_training_events_alone(artifact):
    log = inputs.prepared(artifact)
    np.testing.assert_array_equal(log.popularity, [3, 3, 0, 2, 0, 0])  # 2, 4 and 5 are only held out
    assert log.items == N and log.popularity.dtype == np.int64
    assert log.histories.users == 6 and len(log.source) == 2


def test_catalogue_is_text_and_popularity(artifact):
    vectors = np.random.default_rng(0).normal(size=(N, 3))
    found = inputs.catalogue(inputs.prepared(artifact), vectors)
    assert found.text.dtype == np.float32
    np.testing.assert_allclose(found.text, vectors, rtol=1e-6)
    np.testing.assert_array_equal(found.popularity, [3, 3, 0, 2, 0, 0])
    assert found.prior.size == 0


def test_a_prior_is_so_many_times_the_log_of_one_more_than_the_popularity(artifact):
    found = inputs.catalogue(inputs.prepared(artifact), np.zeros((N, 0)), 0.5)
    np.testing.assert_allclose(found.prior, 0.5 * np.log([[4], [4], [1], [3], [1], [1]]), rtol=1e-6)


@pytest.mark.parametrize("asked, expected", [(0, 0), (70, 70), (-1, 4 * 3)])
def test_a_decay_over_all_epochs_counts_their_steps(asked, expected):
    settings = Training(epochs=4, decay_steps=asked)
    assert inputs.with_decay(settings, lambda number: iter(range(3))).decay_steps == expected
