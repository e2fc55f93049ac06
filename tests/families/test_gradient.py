from dataclasses import replace

import numpy as np
import pytest

from rexjax.config import Pooled, Training, Transformer, TwoTower
from rexjax.data import splits
from rexjax.data.histories import Histories
from rexjax.families import gradient
from rexjax.families.base import FineTuning, Run, SoftTargets, TrainingData
from rexjax.models.items import ItemEncoder
from rexjax.models.served import Served
from rexjax.runtime.mesh import make_mesh

N, L = 6, 4
COUNTS = np.asarray([3, 3, 0, 2, 0, 0])


def data(**content) -> TrainingData:
    offsets = np.asarray([0, 4, 8])
    items = np.asarray([0, 1, 3, 2, 1, 0, 3, 5], np.int32)
    log = Histories(items, np.arange(8.0), offsets, *splits.leave_one_out(offsets))
    return TrainingData(log, [log._asdict()], N, COUNTS, L, content)


class Reached(Exception):
    pass


@pytest.fixture
def task(monkeypatch, tmp_path):
    """What a family hands to the training loop, and with which settings."""

    def of(model, data, soft=None, tuning=None, devices=1):
        found = []

        def train(task, settings, **about):
            found.append((task, settings))
            raise Reached

        monkeypatch.setattr(gradient, "train", train)
        run = Run(make_mesh(devices, 1), tmp_path, name="student", key="student.model", select="recall@20")
        with pytest.raises(Reached):
            model.distill(data, soft, run, tuning) if soft else model.fit(data, run)
        return found[0]

    return of


def test_the_catalogue_is_the_vectors_and_the_popularity(task):
    vectors = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
    made, _ = task(Pooled(), data(text=vectors[:, :2], image=vectors[:, 2:]))
    np.testing.assert_array_equal(made.catalogue.text, vectors)
    assert made.catalogue.text.dtype == np.float32
    np.testing.assert_array_equal(made.catalogue.popularity, COUNTS)
    assert made.catalogue.prior.size == made.catalogue.aligned.size == 0
    assert (made.name, made.select, made.start) == ("student", "recall@20", None)


def test_items_that_training_never_meets_are_not_scored_if_they_have_vectors(task):
    vectors = np.ones((N, 2), np.float32)
    vectors[4] = 0
    np.testing.assert_array_equal(task(Pooled(), data(text=vectors))[0].catalogue.scored, [1, 1, 0, 1, 1, 0])
    assert task(Pooled(), data())[0].catalogue.scored is None
    met = replace(data(text=vectors), popularity=COUNTS + 1)
    assert task(Pooled(), met)[0].catalogue.scored is None


def test_a_logit_adjustment_is_so_many_times_the_log_of_one_more_than_the_popularity(task):
    prior = task(Pooled(logit_adjustment=0.5), data())[0].catalogue.prior
    np.testing.assert_allclose(prior, 0.5 * np.log([[4], [4], [1], [3], [1], [1]]), rtol=1e-6)


@pytest.mark.parametrize("model", [Pooled(width=8), TwoTower(width=8)], ids=["pooled", "two towers"])
def test_fine_tuning_goes_on_from_whole_item_vectors_without_text(task, model):
    rows, history = np.ones((N, 8), np.float32), {"decay": np.zeros((1, L))}
    soft = SoftTargets(lambda labels, epochs, scored: labels, np.ones((N, 3), np.float32), 0.5)
    tuning = FineTuning(Served(rows, history), fake_quantize=np.round, prune=None)
    made, _ = task(model, data(text=np.ones((N, 2), np.float32)), soft, tuning)
    assert made.start == {"items": {}, "history": history, "rows": rows}
    assert made.catalogue.text.shape == (N, 0) and made.catalogue.aligned.shape == (N, 3)
    np.testing.assert_array_equal(made.catalogue.scored, COUNTS > 0)
    assert made.recommender.items == ItemEncoder(8, "init_from_text")  # vectors stay as they are
    assert made.recommender.fake_quantize is np.round and made.recommender.aligned == 3


def test_fake_quantisation_reads_what_it_is_given_of_each_item(task):
    content = np.arange(2.0 * N, dtype=np.float32).reshape(N, 2)
    soft, start = SoftTargets(lambda labels, epochs, scored: labels), Served(np.ones((N, 8), np.float32), {})
    made, _ = task(Pooled(width=8), data(), soft, FineTuning(start, fake_quantize=add_first, content=content))
    np.testing.assert_array_equal(made.catalogue.text, content)
    params = {"items": {}, "rows": np.eye(8)[:N].astype(np.float32)}
    found = made.recommender.item_vectors(params, content)
    np.testing.assert_allclose(found, np.eye(8)[:N] + content[:, :1], atol=1e-6)


def add_first(vectors, content):
    return vectors + content[:, :1]


@pytest.mark.parametrize(("devices", "batch"), [(1, 8), (4, 8), (8, 8)])
def test_what_a_config_leaves_open_follows_from_the_log(task, devices, batch):
    """Two short histories: a step an epoch."""
    _, settings = task(Transformer(), data(), devices=devices)
    assert (settings.batch, settings.epochs, settings.warmup) == (batch, 100, 100 // 20)


def test_what_a_config_says_stays(task):
    given = Training(epochs=3, batch=2, warmup=1, decay_steps=-1)
    assert task(Transformer(training=given), data())[1] == replace(given, decay_steps=3)
