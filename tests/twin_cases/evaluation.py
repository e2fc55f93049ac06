"""Ranks, metrics, requests and intervals."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from rexjax.evaluation import ranking
from rexjax.evaluation.metrics import ListContext
from rexjax.evaluation.requests import build
from rexjax.models.scorer import dot_product, score_matrix
from tests.twin_cases import case, close, histories, normal


def asked(rng: np.random.Generator, users: int, items: int) -> ranking.Requests:
    """Requests whose seen items and targets do not meet; histories are the users' own numbers."""
    picked = [rng.permutation(items) for _ in range(users)]
    seen = ranking.ragged([own[: rng.integers(0, 6)] for own in picked])
    targets = ranking.ragged([own[10 : 11 + rng.integers(0, 3)] for own in picked])
    return ranking.Requests(np.arange(users, dtype=np.int32)[:, None], *seen, *targets)


@case("evaluation.ranking:count_ranks")
def compare_count_ranks(fast, twin, rng):
    users, items = rng.integers(-1, 2, (5, 3)), rng.integers(-1, 2, (23, 3))  # many ties, and sums are exact
    requests = asked(rng, 5, 23)
    seen = ranking.padded(requests.seen_items, requests.seen_offsets, np.arange(5))
    targets = ranking.padded(requests.target_items, requests.target_offsets, np.arange(5))
    found = fast(jnp.asarray(users), jnp.asarray(items), jnp.asarray(seen), jnp.asarray(targets), chunk=7)
    greater, equal = twin(users @ items.T, seen, targets)
    np.testing.assert_array_equal(found.greater, greater)
    np.testing.assert_array_equal(found.equal, equal)


@case("evaluation.ranking:evaluate")
def compare_evaluate(fast, twin, rng):
    users, items, requests = normal(rng, 9, 4), normal(rng, 31, 4), asked(rng, 9, 31)
    scorer = dot_product(lambda histories: jnp.asarray(users)[histories[:, -1]], jnp.asarray(items))
    found = fast(scorer, requests, ks=(1, 5), batch=4, chunk=8)
    close(found.per_user, twin(users @ items.T, requests, (1, 5)))


@case("evaluation.ranking:padded")
def compare_padded(fast, twin, rng):
    ragged = ranking.ragged([rng.integers(0, 9, size) for size in rng.integers(0, 20, 6)])
    rows = rng.integers(0, 6, 4)
    np.testing.assert_array_equal(fast(*ragged, rows, least=2), twin(*ragged, rows, 2))


@case("evaluation.metrics:per_user")
def compare_metrics(fast, twin, rng):
    scores, targets = rng.integers(0, 3, 7), [1, 4, 5]
    own = scores[targets][:, None]
    greater, equal = (scores > own).sum(1)[None], (scores == own).sum(1)[None] - 1
    for ties in ("expected", "best", "worst"):
        found = fast(greater, equal, np.ones((1, 3), bool), (1, 3, 5), ties)
        close({name: value[0] for name, value in found.items()}, twin(scores.tolist(), targets, (1, 3, 5), ties))


@case("evaluation.requests:build")
def compare_requests(fast, twin, rng):
    log = histories(rng)
    for part in ("valid", "test"):
        found, users = fast(log, part, items=15, length=3)
        for at, (user, latest, seen, targets) in enumerate(expected := twin(log, part, 3)):
            assert users[at] == user and [item for item in found.histories[at].tolist() if item >= 0] == latest
            assert set(found.seen_items[slice(*found.seen_offsets[at : at + 2])].tolist()) == seen
            assert sorted(found.target_items[slice(*found.target_offsets[at : at + 2])].tolist()) == sorted(targets)
        assert len(users) == len(expected) > 0


@case("evaluation.requests:by_target")
def compare_target_requests(fast, twin, rng):
    requests = asked(rng, 9, 31)
    found = fast(requests)
    seen = ranking.padded(found.seen_items, found.seen_offsets, np.arange(len(found.histories)))
    rows = zip(found.histories.tolist(), seen, found.target_items.tolist(), strict=True)
    assert [(own, [i for i in row.tolist() if i >= 0], target) for own, row, target in rows] == twin(requests)
    assert np.diff(found.target_offsets).tolist() == [1] * len(found.target_items)


@case("evaluation.requests:target_events")
def compare_target_events(fast, twin, rng):
    log = histories(rng)
    for part in ("valid", "test"):
        requests, _ = build(log, part, items=15, length=3, exclude_seen=False)
        assert fast(log, requests, part, 15).tolist() == twin(log, requests, part)


@case("evaluation.propensity:snips")
def compare_snips(fast, twin, rng):
    owners = np.unique(np.sort(rng.integers(0, 12, 40)), return_inverse=True)[1]
    values, weights = rng.random(40), 1 / rng.uniform(0.1, 1, 40)
    close(tuple(fast(values, weights, owners)), twin(values.tolist(), weights.tolist(), owners.tolist()))


@case("evaluation.exposure:serendipity")
def compare_serendipity(fast, twin, rng):
    requests, popularity = asked(rng, 9, 31), rng.integers(0, 6, 31)
    lists = np.stack([rng.permutation(np.arange(31))[:6] for _ in range(9)]).astype(np.int32)
    seen = np.split(requests.seen_items, requests.seen_offsets[1:-1])
    targets = np.split(requests.target_items, requests.target_offsets[1:-1])
    lists = np.where([np.isin(row, own) for row, own in zip(lists, seen, strict=True)], -1, lists)
    each = zip(lists.tolist(), map(np.ndarray.tolist, seen), map(np.ndarray.tolist, targets), strict=True)
    close(fast(lists, ListContext(31, popularity, asked=requests)), [twin(*own, popularity) for own in each])


@case("evaluation.confidence:expected_calibration_error")
def compare_calibration_error(fast, twin, rng):
    probabilities, hits = rng.random(50), rng.integers(0, 2, 50).astype(float)
    close(fast(probabilities, hits, 7), twin(probabilities, hits, 7))


@case("evaluation.confidence:first_items")
def compare_first_items(fast, twin, rng):
    requests, scores = asked(rng, 9, 31), normal(rng, 9, 31)
    found = fast(replace(score_matrix(jnp.asarray(scores)), scale=1.5), requests)
    close(tuple(found), tuple(np.asarray(twin(scores, 1.5, requests)).T))


@case("evaluation.significance:bootstrap_mean", "evaluation.significance:paired_bootstrap")
def compare_bootstrap(fast, twin, rng):
    a, b = rng.random(200), rng.random(200)
    paired = fast.function.__name__ == "paired_bootstrap"
    found = fast(a, b, 0, 4000) if paired else fast(a, 0, 4000)
    means = twin(a - b if paired else a, 1, 4000)  # drawn otherwise: the same but for luck
    np.testing.assert_allclose([found.low, found.high], np.quantile(means, [0.025, 0.975]), atol=0.15 * means.std())
