import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.data import histories, shop, splits
from rexjax.data.histories import Histories
from rexjax.data.sources import Shop
from rexjax.errors import UserError
from rexjax.evaluation import propensity, requests, truth
from rexjax.evaluation.models import quality_of, top_lists
from rexjax.evaluation.ranking import Requests, ragged
from rexjax.models.scorer import score_matrix


def test_equal_propensities_correct_nothing():
    values, owners = np.random.default_rng(0).random(50), np.arange(50)
    found = propensity.snips(values, propensity.weights(np.full(50, 0.3)), owners)
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / np.sqrt(50)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_weights_are_inverse_and_clipped():
    found = propensity.weights(np.array([1, 0.5, 0.01]), 10)
    assert found.tolist() == [1, 2, 10]
    assert propensity.effective_sample_size(found) == pytest.approx(13**2 / 105)


@pytest.mark.parametrize(
    "values, sentence",
    [(np.zeros(0), "the log has no propensities.*--data.columns.propensity"), (np.array([0.5, 0]), "1 of 2 propensit")],
)
def test_what_is_no_propensity_is_refused(values, sentence):
    with pytest.raises(UserError, match=sentence):
        propensity.weights(values)


def test_users_with_several_targets_are_asked_once_a_target():
    log = Histories(
        np.array([0, 1, 2, 3, 0, 4, 5], np.int32),
        np.arange(7.0),
        np.array([0, 4, 7]),
        np.array([2, 6]),
        np.array([2, 6]),
        propensities=np.array([1, 1, 0.5, 0.25, 1, 1, 0.1], np.float32),
    )
    asked, _ = requests.build(log, "test", items=12, length=3)
    known = propensity.correction(log, asked, 12, largest=5)
    np.testing.assert_allclose(known.weights, [2, 4, 5])
    assert known.owners.tolist() == [0, 0, 1] and not known.whole
    assert known.facts["clipped"] == pytest.approx(1 / 3) and known.facts["largest_weight"] == 5
    scores = np.tile(-np.arange(12.0), (2, 1))  # among unseen items: target 2 is first, 3 second, 5 fourth
    scorer = score_matrix(jnp.asarray(np.repeat(scores, [2, 1], 0)))
    known = known._replace(asked=known.asked._replace(histories=np.arange(3, dtype=np.int32)[:, None], times=None))
    found = propensity.correct("model", scorer, known)
    gains = np.array([1, 1 / np.log2(3), 1 / np.log2(5)])
    assert found["ndcg@10"]["mean"] == pytest.approx(gains @ [2, 4, 5] / 11)
    assert found["ndcg@10"]["log"] == pytest.approx(gains.mean())
    assert found["hit_rate@10"]["mean"] == 1


def shop_log(made: Shop, seed: int) -> Histories:
    goods = shop.catalogue(made, seed)
    table = next(shop.events(made, goods, seed))
    offsets = np.append(0, np.cumsum(np.bincount(table["user_id"].to_numpy(), minlength=made.users)))
    items = table["item_id"].combine_chunks().indices.to_numpy().astype(np.int32)
    columns = {name: table[name].to_numpy().astype(np.float32) for name in ("position", "propensity")}
    cuts = splits.leave_one_out(offsets)
    times = table["timestamp"].to_numpy().astype(float)
    return Histories(items, times, offsets, *cuts, positions=columns["position"], propensities=columns["propensity"])


def test_on_the_simulated_shop_the_corrected_metric_is_the_true_one_and_the_logs_is_not():
    """Position bias favours popular items: the log says that popularity is better than it is."""
    made = Shop(users=4000, items=300, interactions=24_000)
    log = shop_log(made, 0)
    asked, users = requests.build(log, "test", items=300, length=8)
    popular = score_matrix(jnp.asarray(np.tile(np.bincount(log.items, minlength=300), (len(users), 1)), jnp.float32))
    asked = asked._replace(histories=np.arange(len(users), dtype=np.int32)[:, None], times=None)
    known = propensity.correction(log, asked, 300)
    assert known.whole and known.facts["effective_sample_size"] < len(users)
    result = quality_of("popularity", popular, {"test": asked}, (10,), traced=True)["test"]
    found = propensity.correct("popularity", popular, known, result)["ndcg@10"]
    assert found["log"] == pytest.approx(result.means["ndcg@10"])
    prefer = made.preference(0, [f"sku-{item:05d}" for item in range(300)])
    last = np.stack([log.items[stop - 2 : stop] for stop in log.test_start[users]])

    def preference(rows: np.ndarray) -> np.ndarray:
        return prefer([str(user) for user in users[rows]], last[rows], log.times[log.test_start[users[rows]]])

    worth = truth.expected_dcg({"popularity": top_lists(popular, asked, 10)}, asked, preference, 300)
    true = worth["popularity"].mean()
    assert found["low"] < true < found["high"] < found["log"]
    assert found["log"] > 1.15 * true


def test_digests_are_those_of_logs_without_propensities():
    made = Shop(users=20, items=60, interactions=300)
    log = shop_log(made, 0)
    plain = log._replace(positions=log.positions[:0], propensities=log.propensities[:0])
    assert histories.digest([plain]) == histories.digest([Histories(*plain[:5])]) != histories.digest([log])


def test_requests_that_ask_for_one_target_stay_as_they_are():
    asked = Requests(np.zeros((2, 1), np.int32), *ragged([[], [1]]), *ragged([[2], [3]]))
    assert requests.by_target(asked) is asked
