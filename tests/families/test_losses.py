"""Each loss over lists teaches: on a log in which items follow in a circle, the next one is found."""

import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest

from rexjax.config import Pooled, Training
from rexjax.data.histories import Histories
from rexjax.families.base import fit
from rexjax.losses import LISTWISE
from rexjax.models.scorer import Query
from tests.families.small_log import make_data, make_run

ITEMS, USERS, EVENTS = 24, 160, 10


@pytest.fixture(scope="module")
def circle():
    starts = np.random.default_rng(0).integers(0, ITEMS, USERS)
    items = (starts[:, None] + np.arange(EVENTS)) % ITEMS
    ends = np.arange(1, USERS + 1) * EVENTS
    offsets = np.concatenate([[0], ends])
    log = Histories(items.ravel().astype(np.int32), np.arange(items.size) + 1e9, offsets, ends - 2, ends - 1)
    return make_data(log, items=ITEMS, length=EVENTS)


@pytest.mark.parametrize("loss", [*LISTWISE, "in_batch"])
def test_a_model_learns_what_follows(loss, circle, tmp_path):
    training = Training(epochs=12, batch=8, learning_rate=0.02, warmup=10)
    model = Pooled(width=16, hidden=32, dropout=0.0, temperature=0.2, loss=loss, negatives=12, training=training)
    better = itertools.count()  # the last epoch is the best
    run = replace(make_run(tmp_path), validate=lambda scorer, users=0: {"ndcg@10": float(next(better))})
    scorer = model.scorer(fit(model, circle, run))
    latest = np.arange(ITEMS)
    histories = ((latest[:, None] - np.arange(4)[::-1]) % ITEMS).astype(np.int32)
    encoded = scorer.encode(scorer.state, Query(histories))
    scores = jax.device_get(scorer.score(scorer.state, encoded, np.arange(ITEMS)))
    following = scores[latest, (latest + 1) % ITEMS]
    # by chance 11.5; ListMLE also learns the order in which samples were drawn, which tells nothing
    assert np.mean((scores > following[:, None]).sum(1)) < (9 if loss == "listmle" else 3)
