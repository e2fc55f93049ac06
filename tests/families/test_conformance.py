"""What every family must do, whatever it computes."""

import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.artifacts import classes
from rexjax.data import batches
from rexjax.families.base import Model, fit
from rexjax.families.blend import Blend
from rexjax.families.cross_fitted import CrossFitted
from rexjax.families.decayed import DecayedPopularity
from rexjax.families.dmf import DMF
from rexjax.families.factors import BPRMF, WARP
from rexjax.families.ials import IALS
from rexjax.families.linear import Ease, ItemKNN
from rexjax.families.neural import GMF, MLP, NeuMF
from rexjax.families.pooled import Pooled
from rexjax.families.popularity import Popularity, RecentPopularity
from rexjax.families.rankers import DLRM
from rexjax.families.rules import SequentialRules
from rexjax.families.slim import Slim
from rexjax.families.text import TextCosine
from rexjax.families.text_knn import TextKNN
from rexjax.families.transformer import Transformer
from rexjax.families.two_stage import TwoStage
from rexjax.families.two_tower import TwoTower
from rexjax.families.walks import RP3beta
from rexjax.models.scorer import USER, Query, owners, positions_of, prefixes, scores_of_positions
from rexjax.models.served import flatten, unflatten
from rexjax.training.labelled import LabelledTraining
from rexjax.training.pairs import PairTraining
from rexjax.training.settings import Training
from tests.families.small_log import ITEMS, LENGTH, make_run

TRAINING = Training(epochs=1, batch=8)
PAIRS = PairTraining(epochs=2, batch=64, negatives=3)
COUNTING = {
    "popularity": Popularity(),
    "recent popularity": RecentPopularity(days=2.0),
    "ease": Ease(l2=5.0),
    "ease by time": Ease(l2=5.0, decay=0.7, recency="times"),
    "item neighbours": ItemKNN(neighbours=7, decay=0.9),
    "item neighbours by time": ItemKNN(neighbours=7, decay=0.5, recency="times"),
    "decayed popularity": DecayedPopularity(half_life=2.0),
    "walks": RP3beta(neighbours=7, alpha=0.8, beta=0.4),
    "walks by time": RP3beta(neighbours=7, decay=0.6, recency="times"),
    "slim": Slim(l1=0.1, l2=0.5, neighbours=9),
    "slim by time": Slim(l1=0.1, l2=0.5, decay=0.7, training_decay=0.9, recency="times"),
    "factors": IALS(width=8, epochs=4),
    "factors by time": IALS(width=6, epochs=3, decay=0.7, training_decay=0.9, l2_exponent=0.5, recency="times"),
    "rules": SequentialRules(rules=6),
    "rules by time": SequentialRules(rules=6, window=2, recency="times"),
}
OF_PAIRS = {
    "bpr": BPRMF(width=6, training=PAIRS),
    "warp": WARP(width=6, training=PAIRS),
    "gmf": GMF(width=6, training=PAIRS),
    "mlp": MLP(width=6, layers=(8, 4), training=PAIRS),
    "fused": NeuMF(gmf=GMF(width=6, training=PAIRS), mlp=MLP(width=4, layers=(6,), training=PAIRS), training=PAIRS),
    "towers": DMF(layers=(8, 6), training=PAIRS),
}
"""They read the user."""
FAMILIES: dict[str, Model] = (
    COUNTING
    | OF_PAIRS
    | {
        "text": TextCosine(),
        "texts": TextKNN(events=4),
        "texts by time": TextKNN(events=4, decay=0.5, recency="times"),
        "blend": Blend((Ease(l2=5.0, decay=0.8), Popularity())),
        "cross-fitted": CrossFitted(ItemKNN(neighbours=7)),
        "sum": Blend((ItemKNN(neighbours=7), Popularity()), weights=(1.0, 0.1), standardized=False),
        "two stages": TwoStage(
            Ease(l2=5.0),
            signals=(Popularity(),),
            ranker=DLRM(width=4, hidden=(6,), training=LabelledTraining(epochs=2, batch=16)),
            k1=12,
            negatives=5,
        ),
        "transformer": Transformer(width=8, layers=1, training=TRAINING),
        "recurrent": Transformer(width=9, layers=1, block="gru", training=TRAINING),
        "pooled": Pooled(width=8, hidden=8, training=TRAINING),
        "two towers": TwoTower(width=8, hidden=8, training=TRAINING),
    }
)
ALL = np.arange(ITEMS, dtype=np.int32)
close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module", params=FAMILIES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return FAMILIES[name]


@pytest.fixture(scope="module")
def state(model, data, tmp_path_factory):
    return fit(model, data, make_run(tmp_path_factory.mktemp("fit")))


@pytest.fixture(scope="module")
def query(data):
    """The latest L events of 64 requests; the first has none."""
    users = np.arange(64) % data.log.users
    stops = data.log.valid_start[users].copy()
    stops[0] = data.log.offsets[users[0]]
    histories = batches.latest(data.log, users, stops, LENGTH)
    times = batches.latest_times(data.log, users, np.minimum(stops, len(data.log.items) - 1), LENGTH)
    known = np.where(np.arange(64) % 9 == 0, -1, users).astype(np.int32)
    return Query(histories, times, {USER: known})


def rows(query: Query, which) -> Query:
    return Query(query.histories[which], query.times[which], {USER: query.features[USER][which]})


@jax.jit
def answer(scorer, query, ids):
    return scorer.score(scorer.state, scorer.encode(scorer.state, query), ids)


def test_the_state_is_a_pytree_of_arrays(state):
    leaves = jax.tree.leaves(state)
    assert leaves and all(isinstance(leaf, np.ndarray | jax.Array) for leaf in leaves)


def test_every_item_has_a_finite_score(model, state, query):
    scores = np.asarray(answer(model.scorer(state), query, ALL))
    assert scores.shape == (64, ITEMS) and scores.dtype == np.float32
    assert np.isfinite(scores).all() and scores.std() > 0


@pytest.mark.parametrize("ids", [[3], [39, 0, 7], [5, 5, 2, 5], list(range(30))], ids=str)
@pytest.mark.parametrize("users", [slice(0, 1), slice(1, 2), slice(None)], ids=["empty", "one", "all"])
def test_scores_of_some_items_are_those_of_all(model, state, query, users, ids):
    scorer, ids = model.scorer(state), np.array(ids, np.int32)
    whole = np.asarray(answer(scorer, rows(query, users), ALL))
    close(answer(scorer, rows(query, users), ids), whole[:, ids])


def test_a_request_alone_is_answered_as_in_a_batch(model, state, query):
    scorer = model.scorer(state)
    whole = answer(scorer, query, ALL)
    for user in (0, 1, 17, 63):
        close(answer(scorer, rows(query, [user]), ALL)[0], whole[user])


def test_padding_on_the_left_changes_nothing(model, state, query):
    events = (query.histories >= 0).sum(1)
    known = np.flatnonzero((events > 0) & (events <= LENGTH - 5))  # of no event attention makes an arbitrary mean
    narrow = Query(query.histories[known, 5:], query.times[known, 5:], {USER: query.features[USER][known]})
    assert len(known) > 5
    scorer = model.scorer(state)
    close(answer(scorer, narrow, ALL), answer(scorer, rows(query, known), ALL))


def test_scores_after_positions_are_those_of_prefixes(model, state, data):
    if isinstance(model, Transformer):
        pytest.skip("it counts positions from the end of the whole history, as it does in training")
    scorer = model.scorer(state)
    first = next(batches.epoch(data.records, seed=0, epoch=0, batch=8, length=LENGTH))
    users = owners(data.log.offsets, first.events)
    batch = jax.tree.map(jnp.asarray, first._replace(events=first.events.astype(np.int32), users=users))
    slow = scorer.score(scorer.state, scorer.encode(scorer.state, prefixes(batch)), ALL)
    fast = scores_of_positions(scorer, scorer.state, positions_of(scorer, scorer.state, batch), ALL)
    real = np.asarray(batch.segments).reshape(-1) > 0
    assert real.sum() > 50
    close(np.asarray(fast).reshape(-1, ITEMS)[real], np.asarray(slow)[real])


def test_a_stored_state_answers_alike(model, state, query):
    stored = {key: np.array(leaf) for key, leaf in flatten(state).items()}
    again = model.scorer(model.state_from(unflatten(stored)))
    np.testing.assert_array_equal(answer(again, query, ALL), answer(model.scorer(state), query, ALL))


def test_a_second_scorer_of_equal_settings_is_not_compiled_again(model, state, query):
    compiled = []

    @jax.jit
    def count(scorer, query):
        compiled.append(scorer)
        return scorer.score(scorer.state, scorer.encode(scorer.state, query), ALL)

    count(model.scorer(state), query)
    count(replace(model).scorer(jax.tree.map(jnp.asarray, state)), query)
    assert len(compiled) == 1


def test_what_events_gave_sums_up_to_the_score(model, state, query):
    scorer, items = model.scorer(state), np.arange(64, dtype=np.int32) % ITEMS
    if scorer.explain is None:
        pytest.skip("its scores are no sums over events")
    given = np.asarray(scorer.explain(scorer.state, query, items))
    assert given.shape == (64, LENGTH + 1)
    close(given.sum(1), np.asarray(answer(scorer, query, ALL))[np.arange(64), items])


def test_settings_survive_json(model):
    assert classes.from_dict(Model, json.loads(json.dumps(classes.as_dict(model)))) == model


def test_variations_are_other_models_of_the_family(model):
    varied = model.variations()
    assert all(type(other) is type(model) and other != model for other in varied.values())
    assert varied or type(model) in (Popularity, TextCosine)


@pytest.mark.parametrize("name", COUNTING | OF_PAIRS)
def test_eight_devices_count_as_one_does(name, data, tmp_path, query):
    model = FAMILIES[name]
    one, eight = (fit(model, data, make_run(tmp_path, devices)) for devices in (1, 8))
    close(answer(model.scorer(eight), query, ALL), answer(model.scorer(one), query, ALL))
