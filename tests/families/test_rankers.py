from dataclasses import replace

import jax
import numpy as np
import pytest

from rexjax.families.rankers import (
    DLRM,
    FM,
    DCNv2,
    DeepFM,
    FinalMLP,
    LogisticRegression,
    MMoE,
    SharedBottom,
    WideDeep,
)
from rexjax.families.ranking import LABEL
from rexjax.models.fields import Crosses
from rexjax.training.label_metrics import auc
from tests.training.test_labelled import FIELDS, SHORT, examples, fitted

QUICK = replace(SHORT, epochs=4, learning_rate=0.02)
DEEP = {"width": 4, "hidden": (10,), "stddev": 0.1, "training": QUICK}
RANKERS = {
    "logistic": LogisticRegression(training=QUICK),
    "fm": FM(width=4, stddev=0.1, training=QUICK),
    "wide and deep": WideDeep(crosses=Crosses((("user", "item"), ("item", "user")), 128), **DEEP),
    "deepfm": DeepFM(**DEEP),
    "dcn": DCNv2(**DEEP),
    "dcn of low rank": DCNv2(rank=2, **DEEP),
    "dlrm": DLRM(bottom=(6,), **DEEP),
    "streams": FinalMLP(second=(5,), gates=(0, -1), gate_hidden=6, **DEEP),
}
TASKS = {
    "shared bottom": SharedBottom(tower=(6,), **DEEP),
    "experts": MMoE(tower=(6,), experts=3, **DEEP),
}


@pytest.mark.parametrize("name", RANKERS)
def test_a_ranker_learns_and_answers_each_example_alone(name):
    model, arrays = RANKERS[name], examples()
    state, run = fitted(model)
    curve = run.summaries["ranker"]["curve"]
    assert curve[-1]["loss"] < curve[0]["loss"]
    logits = model.predict(FIELDS, state, arrays)
    assert logits.shape == (100,) and logits.std() > 0
    few = {key: values[7:12] for key, values in arrays.items()}
    np.testing.assert_allclose(model.predict(FIELDS, state, few), logits[7:12], atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda s: model.logits(FIELDS, s, few))(state), logits[7:12], atol=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_are_learnt_together_and_an_unknown_label_teaches_nothing(name):
    model, arrays = TASKS[name], examples()
    first, second = arrays[LABEL], (arrays["price"] > 0).astype(np.float32)
    state, _ = fitted(model, arrays=arrays | {LABEL: np.stack([first, second], 1)})
    logits = model.predict(FIELDS, state, arrays)
    assert logits.shape == (100, 2) and auc(logits[:, 1], second) > 0.6
    known = np.where(np.arange(100)[:, None] < 50, np.stack([first, second], 1), np.nan).astype(np.float32)
    state, _ = fitted(model, arrays=arrays | {LABEL: known})
    assert np.isfinite(model.predict(FIELDS, state, arrays)).all()


def test_an_unknown_value_is_answered_as_value_0():
    model, arrays = RANKERS["wide and deep"], examples()
    state, _ = fitted(model)
    unknown = arrays | {"user": np.full(100, 99, np.int32)}
    zero = arrays | {"user": np.zeros(100, np.int32)}
    np.testing.assert_array_equal(model.predict(FIELDS, state, unknown), model.predict(FIELDS, state, zero))
