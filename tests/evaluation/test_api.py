import doctest

import jax.numpy as jnp
import numpy as np
import pytest

import rexjax
from rexjax.errors import UserError
from rexjax.evaluation import api, ranking
from rexjax.evaluation.metrics import METRICS, ListMetric, RankMetric
from rexjax.models.scorer import dot_product

U, N, L = 30, 20, 8
RNG = np.random.default_rng(0)
ROWS = RNG.integers(-2, 3, (N, 3)).astype(np.float32)
PICKED = RNG.permuted(np.tile(np.arange(N), (U, 1)), axis=1)
REQUESTS = ranking.Requests(
    RNG.integers(0, N, (U, L)).astype(np.int32), *ranking.ragged(PICKED[:, 2:5]), *ranking.ragged(PICKED[:, :2])
)


def encode(histories):
    return jnp.asarray(ROWS)[histories[:, -1]]


def in_numpy(histories: np.ndarray) -> np.ndarray:
    assert type(histories) is np.ndarray
    return ROWS[histories[:, -1]] @ ROWS.T


def in_jax(histories):
    return jnp.asarray(ROWS)[jnp.asarray(histories)[:, -1]] @ jnp.asarray(ROWS).T


SCORES = in_numpy(REQUESTS.histories)


def test_the_example_in_the_docstring():
    assert doctest.testmod(api).failed == 0
    assert rexjax.evaluate is api.evaluate


@pytest.mark.parametrize(
    "model",
    [SCORES, SCORES.tolist(), jnp.asarray(SCORES), in_numpy, in_jax],
    ids=["NumPy", "lists", "JAX", "a function of NumPy", "a function of JAX"],
)
def test_every_kind_of_model_gets_what_the_scorer_of_the_same_scores_gets(model):
    expected = api.evaluate(dot_product(encode, ROWS), REQUESTS, (1, 5))
    found = api.evaluate(model, REQUESTS, (1, 5))
    plain = [name for name, metric in METRICS.items() if not getattr(metric, "needs", ())]
    assert set(found.means) == {f"{name}@{k}" for name in plain for k in (1, 5)}
    assert found.means == expected.means and found.spread == expected.spread
    for name, value in expected.per_user.items():
        np.testing.assert_array_equal(found.per_user[name], value, err_msg=name)


def hits(groups, k):
    return groups.hits(k)


def longest(lists, context):
    return (lists >= 0).sum(1)


def test_metrics_are_chosen_by_name_or_given():
    chosen = ("recall", RankMetric("hits", hits), ListMetric("longest", longest), METRICS["mrr"])
    found = api.evaluate(SCORES, REQUESTS, (4,), chosen)
    assert list(found.means) == ["recall@4", "hits@4", "mrr@4", "longest@4"]
    np.testing.assert_allclose(found.per_user["hits@4"], 2 * found.per_user["recall@4"])
    assert found.means["longest@4"] == 4


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"metrics": ("distance",)}, "the metric distance reads vectors: pass a ListContext that has it"),
        (
            {"metrics": ("ndgc",)},
            "there is no metric 'ndgc': choose some of precision, .*, coverage, .* and",
        ),
        ({"ks": (1, N + 1)}, f"ks has the cut-off {N + 1}: the metrics .* from 1 to the catalogue's {N} items"),
        ({"model": SCORES[1:]}, rf"shape \({U - 1}, {N}\): give one row for each of {U} users"),
        ({"model": SCORES[:, 0]}, r"give one row for each"),
        ({"model": lambda histories: SCORES[:1]}, r"returned the shape \(1, 20\) for \d+ histories"),
        ({"model": lambda histories: in_numpy(histories)[:, : 19 + (len(histories) == 2)]}, "scores of all 20 items"),
        ({"model": np.full((U, N), np.nan)}, "scores are NaN"),
    ],
)
def test_mistakes_are_one_sentence(changes, words):
    with pytest.raises(UserError, match=words):
        api.evaluate(**({"model": SCORES, "requests": REQUESTS} | changes))
