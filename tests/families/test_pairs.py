from dataclasses import replace

import jax
import numpy as np
import pytest

from rexjax.config import BPRMF, DMF, GMF, MLP, WARP, Ease, NeuMF, PairTraining
from rexjax.data import batches
from rexjax.errors import UserError
from rexjax.evaluation import ranking, requests
from rexjax.families.base import Unsuitable, need_history_alone
from rexjax.families.blend import Blend
from rexjax.families.pairs import counts_of, distinct_pairs
from rexjax.models.scorer import USER, ask, owners, positions_of, prefixes
from rexjax.training.pairs import PairBatch
from tests.families.small_log import ITEMS, LENGTH, USERS, make_run
from tests.families.test_linear import matrix_of

SHORT = PairTraining(epochs=2, batch=64, negatives=3)
MODELS = {
    "bpr": BPRMF(width=5, l2=0.1),
    "warp": WARP(width=5, l2=0.0),
    "gmf": GMF(width=5, l2=0.01),
    "mlp": MLP(width=4, layers=(6, 3)),
    "neumf": NeuMF(gmf=GMF(width=5), mlp=MLP(width=4, layers=(6, 3)), l2=0.02),
    "dmf": DMF(layers=(6, 4)),
}
ALL = np.arange(ITEMS)


def perturbed(model):
    """First parameters, with random numbers added, float64."""
    rng = np.random.default_rng(0)
    params = model.first_params(USERS, ITEMS, 0)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) + 0.3 * rng.normal(size=np.shape(leaf)), params)


def relu_layers(params, x):
    for number in sorted(params, key=int):
        x = np.maximum(x @ params[number]["kernel"] + params[number]["bias"], 0)
    return x


def dot(params, user, item, matrix):
    tables = params["tables"]
    return tables["users"]["factors"][user] @ tables["items"]["factors"][item] + tables["items"]["bias"][item, 0]


def gmf(params, user, item, matrix):
    tables = params["tables"]
    return (params["dense"]["output"] * tables["users"]["factors"][user]) @ tables["items"]["factors"][item]


def mlp(params, user, item, matrix):
    tables, dense = params["tables"], params["dense"]
    both = np.concatenate([tables["users"]["embedding"][user], tables["items"]["embedding"][item]])
    first = np.maximum(both @ np.concatenate([dense["of_user"], dense["of_item"]]) + dense["bias"], 0)
    return relu_layers(dense["layers"], first) @ dense["output"]


def neumf(params, user, item, matrix):
    parts = {name: {"tables": params["tables"], "dense": params["dense"][name]} for name in ("gmf", "mlp")}
    return gmf(parts["gmf"], user, item, matrix) + mlp(parts["mlp"], user, item, matrix)


def dmf(params, user, item, matrix):
    left = relu_layers(params["dense"]["users"], matrix[user] @ params["tables"]["items"]["kernel"])
    right = relu_layers(params["dense"]["items"], matrix[:, item] @ params["tables"]["users"]["kernel"])
    return left @ right / (max(np.linalg.norm(left), 1e-6) * max(np.linalg.norm(right), 1e-6))


TWINS = {"bpr": dot, "warp": dot, "gmf": gmf, "mlp": mlp, "neumf": neumf, "dmf": dmf}


def softplus(x):
    return np.log1p(np.exp(x))


def bce(scores):
    return (softplus(-scores[0]) + softplus(scores[1:]).sum()) / len(scores)


def cross_entropy(scores):
    predicted = np.clip(scores, 1e-6, 1 - 1e-6)
    return -(np.log(predicted[0]) + np.log(1 - predicted[1:]).sum()) / len(scores)


def ranks(scores):
    """WARP by its definition, of M samples from N items."""
    hinge = np.maximum(1 - scores[0] + scores[1:], 0)
    violations = int((hinge > 0).sum())
    rank = round(violations * ITEMS / len(hinge))
    return sum(1 / n for n in range(1, rank + 1)) * hinge.sum() / max(violations, 1)


LOSSES = {
    "bpr": lambda scores: softplus(scores[1:] - scores[0]).mean(),
    "warp": ranks,
    "gmf": bce,
    "mlp": bce,
    "neumf": bce,
    "dmf": cross_entropy,
}


def norms(params, user, items):
    of_user = sum((table[user] ** 2).sum() for table in params["tables"]["users"].values())
    return of_user + sum((table[items] ** 2).sum(-1).mean() for table in params["tables"]["items"].values())


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_that_of_the_paper(data, run, name):
    model, params, matrix = MODELS[name], perturbed(MODELS[name]), matrix_of(data)
    rng = np.random.default_rng(1)
    users, items, where = rng.integers(0, USERS, 6), rng.integers(0, ITEMS, (6, 4)), np.arange(6) < 5
    batch = PairBatch(users, items, np.ones(6, np.float32), where)
    expected = []
    for user, listed in zip(users[:5], items[:5], strict=True):
        scores = np.array([TWINS[name](params, user, item, matrix) for item in listed])
        expected.append(LOSSES[name](scores) + getattr(model, "l2", 0) * norms(params, user, listed))
    found = jax.jit(lambda own: model.loss(ITEMS, own, batch, model.constants(data, run)))(params)
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_those_of_the_network_and_an_unknown_user_gets_the_popular_items(data, run, name):
    model, params, matrix = MODELS[name], perturbed(MODELS[name]), matrix_of(data)
    state = model.served(jax.tree.map(np.float32, params), counts_of(data), model.constants(data, run))
    scorer = model.scorer(state)
    trained = np.flatnonzero(counts_of(data).trained)[:4]
    without = np.flatnonzero(~counts_of(data).trained)[:1]
    users = np.r_[trained, -1, without].astype(np.int32)
    query = ask(scorer, np.full((len(users), LENGTH), -1, np.int32), None, {USER: users})
    scores = np.asarray(scorer.score(state, scorer.encode(state, query), ALL))
    expected = [[TWINS[name](params, user, item, matrix) for item in ALL] for user in trained]
    np.testing.assert_allclose(scores[:4], expected, atol=1e-4)
    biases = params["tables"]["items"].get("bias", np.log1p(data.popularity)[:, None])
    np.testing.assert_allclose(scores[4:], [biases[:, 0]] * len(users[4:]), atol=1e-5)


def test_scores_do_not_depend_on_how_many_users_are_scored_at_a_time(data, run, monkeypatch):
    model = MODELS["neumf"]
    state = model.served(jax.tree.map(np.float32, perturbed(model)), counts_of(data), ())
    scorer = model.scorer(state)
    query = ask(scorer, np.full((20, LENGTH), -1, np.int32), None, {USER: np.arange(20, dtype=np.int32)})
    whole = scorer.score(state, scorer.encode(state, query), ALL)
    monkeypatch.setattr("rexjax.models.pair_networks.CHUNK_FLOATS", 700)
    np.testing.assert_allclose(scorer.score(state, scorer.encode(state, query), ALL), whole, atol=1e-6)


@pytest.fixture(scope="module")
def bprmf(data, tmp_path_factory):
    model = BPRMF(width=6, training=SHORT)
    return model.scorer(model.fit(data, make_run(tmp_path_factory.mktemp("fit"))))


def test_an_evaluation_is_that_of_a_plain_loop(data, bprmf):
    asked, users = requests.build(data.log, "valid", items=ITEMS, length=LENGTH)
    state = jax.tree.map(np.asarray, bprmf.state)
    found = ranking.evaluate(bprmf, asked, ks=(5,)).per_user["hit_rate@5"]
    for row, user in enumerate(users):
        scores = state["users"][user] @ state["items"].T
        scores[asked.seen_items[asked.seen_offsets[row] : asked.seen_offsets[row + 1]]] = -np.inf
        wanted = asked.target_items[asked.target_offsets[row] : asked.target_offsets[row + 1]]
        assert found[row] == np.isin(wanted, np.argsort(-scores)[:5]).any()


def test_positions_of_packed_rows_know_their_users(data, bprmf):
    batch = next(batches.epoch(data.records, seed=0, epoch=0, batch=8, length=LENGTH))
    users = owners(data.log.offsets, batch.events)
    known = batch._replace(users=users)
    encoded = np.asarray(positions_of(bprmf, bprmf.state, known))
    slow = np.asarray(bprmf.encode(bprmf.state, prefixes(known))).reshape(encoded.shape)
    real = batch.segments > 0
    np.testing.assert_array_equal(encoded[real], np.asarray(bprmf.state["users"])[users[real]])
    np.testing.assert_array_equal(slow[real], encoded[real])
    assert (np.asarray(positions_of(bprmf, bprmf.state, batch)) == bprmf.state["unknown"]).all()


def test_a_blend_passes_users_on_to_those_who_read_them(data, run):
    model = Blend((Ease(l2=5.0), BPRMF(width=6, training=SHORT)), weights=(0.0, 1.0), standardized=False)
    scorer = model.scorer(model.fit(data, run))
    assert scorer.reads == (USER,)
    query = ask(scorer, np.full((5, LENGTH), -1, np.int32), None, {USER: np.arange(5, dtype=np.int32)})
    own = scorer.state["members"]["1"]
    scores = scorer.score(scorer.state, scorer.encode(scorer.state, query), ALL)
    np.testing.assert_allclose(scores, own["users"][:5] @ own["items"].T, atol=1e-5)
    with pytest.raises(UserError, match="teacher reads the feature user of each request, and an export is given"):
        need_history_alone(scorer, "teacher", "an export")


def test_models_that_read_no_feature_are_asked_without(data):
    model = Ease(l2=5.0)
    scorer = model.scorer({"weights": np.zeros((ITEMS, ITEMS), np.float32)})
    assert ask(scorer, np.zeros((2, 3), np.int32), None, {USER: np.zeros(2, np.int32)}).features == {}


def test_pre_trained_parts_begin_with_their_shares(data, run):
    """Where no step changes anything, the fused model is the weighted sum of its parts."""
    still = replace(SHORT, epochs=1, patience=0, learning_rate=1e-12)
    parts = {"gmf": GMF(width=5, training=still), "mlp": MLP(width=4, layers=(6, 3), training=still)}
    params = NeuMF(**parts, pretrained=True, alpha=0.25, training=still).trained(data, run)
    parts = {name: part.first_params(USERS, ITEMS, run.seed) for name, part in parts.items()}
    expected = 0.25 * gmf(parts["gmf"], 3, 7, None) + 0.75 * mlp(parts["mlp"], 3, 7, None)
    np.testing.assert_allclose(neumf(params, 3, 7, None), expected, atol=1e-5)
    assert {"model", "model gmf", "model mlp"} <= run.summaries.keys()


def test_ratings_are_read_from_the_features(data, run):
    rating = np.random.default_rng(0).integers(1, 6, len(data.log.items)).astype(np.float32)
    found = DMF(ratings=True).pairs(replace(data, features={"rating": rating}), run)
    users, items = distinct_pairs(data)
    owner, events = data.events()
    latest = {(u, i): r for u, i, r in zip(owner, data.log.items[events], rating[events], strict=True)}
    expected = np.array([latest[pair] for pair in zip(users, items, strict=True)])
    np.testing.assert_allclose(found.values, expected / expected.max())


def test_ratings_that_the_log_does_not_have_are_refused(data, run):
    with pytest.raises(Unsuitable, match="--model.ratings asks for ratings, and the log has none"):
        DMF(ratings=True, training=SHORT).fit(data, run)


@pytest.mark.parametrize(
    "family, settings",
    [
        (BPRMF, {"width": 0}),
        (BPRMF, {"l2": -1.0}),
        (GMF, {"init_std": 0.0}),
        (MLP, {"layers": ()}),
        (MLP, {"layers": (4, 0)}),
        (NeuMF, {"alpha": 1.5}),
        (DMF, {"layers": (4,)}),
    ],
)
def test_settings_that_mean_nothing_are_refused(family, settings):
    with pytest.raises(UserError, match="set "):
        family(**settings)
