import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.config import BPRMF, PairTraining
from rexjax.errors import UserError
from rexjax.families.cross_fitted import CrossFitted, restrict_to_users
from rexjax.families.linear import ItemKNN
from rexjax.models.scorer import USER, Query
from tests.families.small_log import ITEMS, LENGTH, make_run

KNN = ItemKNN(neighbours=ITEMS - 1, shrinkage=1.0)
ALL = np.arange(ITEMS, dtype=np.int32)


def scores(model, state, query):
    scorer = model.scorer(state)
    return np.asarray(scorer.score(scorer.state, scorer.encode(scorer.state, query), ALL))


def test_each_user_is_answered_by_the_fit_that_has_not_met_them(data, tmp_path):
    model, run = CrossFitted(KNN), make_run(tmp_path)
    state = model.fit(data, run)
    users = np.arange(data.log.users)
    assert abs((state["half"] == 0).sum() - (state["half"] == 1).sum()) <= 1
    histories = np.tile(np.arange(LENGTH, dtype=np.int32), (len(users), 1))
    found = scores(model, state, Query(jnp.asarray(histories), features={USER: jnp.asarray(users, jnp.int32)}))
    plain = [
        scores(
            KNN, KNN.fit(restrict_to_users(data, users[state["half"] != half]), run), Query(jnp.asarray(histories[:1]))
        )[0]
        for half in (0, 1)
    ]
    np.testing.assert_allclose(found, np.stack(plain)[state["half"]], rtol=1e-6)
    unknown = scores(model, state, Query(jnp.asarray(histories[:1]), features={USER: jnp.array([-1])}))
    np.testing.assert_allclose(unknown[0], np.mean(plain, 0), rtol=1e-5)


def test_some_users_keep_their_events_and_the_events_their_places(data):
    users = np.array([3, 4, 11, 40])
    kept = restrict_to_users(data, users)
    assert kept.log.users == 4 and kept.popularity.sum() == (kept.log.valid_start - kept.log.offsets[:-1]).sum()
    for number, user in enumerate(users):
        own, whole = (slice(log.offsets[n], log.offsets[n + 1]) for log, n in ((kept.log, number), (data.log, user)))
        np.testing.assert_array_equal(kept.log.items[own], data.log.items[whole])
        np.testing.assert_array_equal(kept.log.first_event[own], np.arange(len(data.log.items))[whole])
        for cut in ("valid_start", "test_start"):
            assert getattr(kept.log, cut)[number] - own.start == getattr(data.log, cut)[user] - whole.start


def test_a_model_with_rows_of_users_is_refused(data, tmp_path):
    with pytest.raises(UserError, match="BPRMF, which has a row for each user that it met"):
        CrossFitted(BPRMF(width=4, training=PairTraining(epochs=1, batch=32))).fit(data, make_run(tmp_path))
