from dataclasses import replace

import numpy as np
import pytest

from rexjax.artifacts.store import Artifact
from rexjax.config import Config, Data, Evaluate, Popularity
from rexjax.data import histories
from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.pipeline.stages import inputs

N = 6
CONFIG = Config("", data=Data(length=4))


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


def data_of(artifact, **content):
    return inputs.training_data(CONFIG, {"prepare": artifact} | content)


def test_popularity_counts_training_events_alone(artifact):
    data = data_of(artifact)
    np.testing.assert_array_equal(data.popularity, [3, 3, 0, 2, 0, 0])  # 2, 4 and 5 are only held out
    assert data.items == N and data.popularity.dtype == np.int64
    assert data.log.users == 6 and len(data.records) == 2


def test_training_events_are_those_before_validation_with_their_users(artifact):
    data = data_of(artifact)
    users, places = data.events()
    np.testing.assert_array_equal(users, [0, 0, 0, 2, 2, 3, 5, 5])
    np.testing.assert_array_equal(data.log.items[places], [0, 1, 1, 0, 0, 3, 1, 3])


def test_content_is_the_parts_that_stage_encode_wrote_side_by_side(artifact, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    parts = {"text": {"width": 3}, "image": {"width": 2}}
    data = data_of(artifact, encode=Artifact(tmp_path, {"metrics": {"parts": parts}}))
    assert list(data.content) == ["text", "image"] and data_of(artifact).vectors.shape == (N, 0)
    np.testing.assert_array_equal(data.content["image"], vectors[:, 3:])
    np.testing.assert_array_equal(data.vectors, vectors)


@pytest.mark.parametrize("select, also", [("mrr@5", ("mrr@5",)), ("recall@3", ("recall@3",))])
def test_validation_reports_the_metric_that_selects_first(artifact, select, also):
    data = data_of(artifact)
    validate = inputs.validator(data, replace(CONFIG, evaluate=Evaluate(select=select)))
    found = validate(Popularity().scorer({"scores": np.asarray(data.popularity, np.float32)[:, None]}))
    assert tuple(found) == (*also, "ndcg@10", "hit_rate@10", "mrr@10")
    assert all(0 <= value <= 1 for value in found.values())


def test_a_cutoff_beyond_the_catalogue_is_refused(artifact):
    with pytest.raises(UserError, match="evaluate.select is 'ndcg@10': .* from 1 to the catalogue's 6 items"):
        inputs.validator(data_of(artifact), CONFIG)
