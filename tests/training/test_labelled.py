from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from rexjax.embedding import ExactAdam
from rexjax.errors import UserError
from rexjax.families.base import Run
from rexjax.families.rankers import DCNv2, FinalMLP, WideDeep
from rexjax.families.ranking import LABEL
from rexjax.models.fields import Crosses, Field, Fields
from rexjax.planning.collectives import collectives, dense_arrays, table_gathers
from rexjax.runtime.mesh import make_mesh, place, sharding
from rexjax.training.labelled import LabelledTraining, first_state, make_step

FIELDS = Fields((Field("user", 21), Field("item", 11), Field("seen", 11, shares="item", weights="times")), ("price",))
SHORT = LabelledTraining(epochs=2, batch=32, patience=0, learning_rate=0.05)
ADAGRAD = WideDeep(
    width=4, hidden=(8,), dropout=0.2, crosses=Crosses((("user", "item"),), 64), stddev=0.1, training=SHORT
)


class Exact(DCNv2):
    """Its rows move by dense Adam in either path."""

    def row_optimizer(self):
        return ExactAdam(self.training.learning_rate)


def examples(count: int = 100, seed: int = 0) -> dict[str, np.ndarray]:
    """A label that follows from user and item."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 21, count), rng.integers(0, 11, count)
    return {
        "user": user.astype(np.int32),
        "item": item.astype(np.int32),
        "seen": rng.integers(-1, 11, (count, 3)).astype(np.int32),
        "times": rng.uniform(0.5, 2, (count, 3)).astype(np.float32),
        "price": rng.normal(size=count).astype(np.float32),
        LABEL: ((user + item) % 2).astype(np.float32),
    }


def fitted(model, devices=1, arrays=None, valid=None):
    run = Run(make_mesh(devices), Path("."), seed=3, name="ranker")
    return model.fit(FIELDS, arrays or examples(), valid, run), run


def close(one, other, tolerance=2e-4):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance), one, other)


@pytest.mark.parametrize(
    "model", [ADAGRAD, Exact(width=4, hidden=(8,), stddev=0.1, training=SHORT)], ids=["adagrad and ftrl", "adam"]
)
def test_sparse_tables_train_as_dense_ones_do_on_one_device_and_on_eight(model):
    sparse = replace(model, training=replace(SHORT, sparse=True))
    whole = fitted(model)[0]
    for other in (fitted(sparse)[0], fitted(model, 8)[0], fitted(sparse, 8)[0]):
        close(whole, other)


def test_a_sparse_step_gathers_no_table_and_has_no_gradient_of_its_size(optimized):
    mesh, fields = make_mesh(8), Fields((Field("user", 40_000), Field("item", 30_011)))
    settings = replace(SHORT, sparse=True, batch=64)
    model, batch = DCNv2(width=7, hidden=(8,), training=settings), examples(64)
    task = model.task(fields, batch, None, Run(mesh, Path(".")))
    state = first_state(task, 0, mesh)
    placed = place({name: batch[name] for name in ("user", "item", LABEL)}, sharding(mesh, "batch"))
    text = jax.jit(make_step(task, settings, mesh)).lower(state, placed, jax.random.key(0)).compile().as_text()
    whole = (fields.rows // 8 + 1) * 8
    assert not table_gathers(collectives(text, mesh), whole * 8 * 4)
    assert not dense_arrays(text, (whole, 8))


def test_the_same_seed_gives_the_same_ranker():
    jax.tree.map(np.testing.assert_array_equal, fitted(ADAGRAD)[0], fitted(ADAGRAD)[0])


def test_training_lowers_its_step_size_and_keeps_the_best_epoch():
    model = replace(ADAGRAD, training=replace(SHORT, epochs=30, patience=1, drops=1))
    state, run = fitted(model, valid=examples(seed=1))
    curve = [line["auc"] for line in run.summaries["ranker"]["curve"]]
    best = run.summaries["ranker"]["best_epoch"]
    assert curve[best - 1] == max(curve) == run.summaries["ranker"]["valid_auc"]
    assert len(curve) < 30 and state["tables"]["fields"].shape == (FIELDS.rows, 4)


def test_first_order_weights_of_rare_values_stay_zero_by_l1():
    model = replace(ADAGRAD, wide_l1=0.5)
    wide = fitted(model)[0]["tables"]["wide"]
    assert (wide[FIELDS.rows :] == 0).all() and (fitted(ADAGRAD)[0]["tables"]["wide"] != 0).any()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LabelledTraining(sparse=True, l2=0.1), "sparse=True and l2=0.1, which moves all rows"),
        (lambda: FinalMLP(hidden=(7,), second=(10,)), "heads=5, which does not divide 7 and 10"),
        (lambda: Fields((Field("bag", 3, shares="item"),)), "shares rows of item: there are bag"),
        (lambda: Crosses((("user", "shop"),)).sizes(FIELDS), "a cross names shop: there are user, item, seen"),
        (lambda: fitted(ADAGRAD, arrays={"user": np.zeros(3, np.int32)}), "item, seen, times, price is missing"),
        (lambda: fitted(replace(ADAGRAD, training=LabelledTraining())), "there is no validation part"),
        (lambda: fitted(replace(ADAGRAD, training=replace(SHORT, batch=9)), 8), "9 is not divided by 8 devices"),
        (lambda: fitted(replace(ADAGRAD, training=replace(SHORT, learning_rate=1e30)))[0], "became NaN in epoch"),
    ],
)
def test_bad_input_gets_one_sentence(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
