"""States that follow a growing log are those of a fit on it."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import scipy.sparse as sp

from rexjax.errors import UserError
from rexjax.families import inverse_update
from rexjax.families.base import Updatable
from rexjax.families.linear import Ease
from rexjax.families.log_changes import changed_users, rows_of_users
from rexjax.families.popularity import Popularity
from tests.families.small_log import ITEMS, grown, make_data, make_log, make_run, training_histories


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    monkeypatch.setattr("rexjax.families.linear.WORTH", 0)


CASES = {"one user": ((3,), 0, 0), "several": ((0, 5, 9, 21), 0, 0), "all new": ((0, 5), 4, 6), "nothing": ((), 0, 0)}


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("l2", [0.5, 500.0])
def test_an_updated_ease_is_a_fitted_one(data, tmp_path, case, l2, devices):
    model, run, new = Ease(l2=l2), make_run(tmp_path, devices), grown(data, *CASES[case])
    found = model.update(model.fit(data, run), data, new, run)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, model.fit(new, run))


@pytest.mark.parametrize("recency", ["events", "times"])
def test_events_that_lose_weight_are_updated_too(data, run, recency):
    model, new = Ease(l2=5.0, training_decay=0.8, recency=recency), grown(data, (0, 5, 9), 2, 3)
    found = model.update(model.fit(data, run), data, new, run)
    np.testing.assert_allclose(found["weights"], model.fit(new, run)["weights"], atol=1e-5)


def test_thirty_updates_do_not_drift(data, run):
    model, state, now = Ease(l2=5.0), None, data
    state = model.fit(now, run)
    for day in range(30):
        later = grown(now, (day, day + 7), 1, day % 3)
        state, now = model.update(state, now, later, run), later
    np.testing.assert_allclose(state["weights"], model.fit(now, run)["weights"], atol=1e-5)


def test_a_state_of_one_device_is_updated_on_eight(data, tmp_path):
    model, new, eight = Ease(l2=5.0), grown(data, (2, 3), 1, 5), make_run(tmp_path, 8)
    found = model.update(model.fit(data, make_run(tmp_path)), data, new, eight)
    np.testing.assert_allclose(found["weights"], model.fit(new, eight)["weights"], atol=1e-5)


def test_many_changed_users_are_fitted(data, run, monkeypatch):
    monkeypatch.setattr("rexjax.families.linear.WORTH", 8)
    monkeypatch.setattr("rexjax.families.linear.updater", None)  # is not called
    model, new = Ease(l2=5.0), grown(data, tuple(range(ITEMS // 8 + 1)))
    found = model.update(model.fit(data, run), data, new, run)
    np.testing.assert_array_equal(found["weights"], model.fit(new, run)["weights"])


def test_changed_users_are_those_with_other_training_events(data):
    assert changed_users(data, data).size == 0
    assert changed_users(data, grown(data, (3, 8), 2)).tolist() == [3, 8, data.log.users, data.log.users + 1]
    other = data.log.items.copy()
    user = int(np.argmax(data.log.valid_start > data.log.offsets[:-1]))
    other[data.log.offsets[user]] = (other[data.log.offsets[user]] + 1) % ITEMS
    assert changed_users(data, replace(data, log=data.log._replace(items=other))).tolist() == [user]


def test_held_out_events_change_nobody(data):
    last = data.log.items.copy()
    last[data.log.offsets[1:][np.diff(data.log.offsets) > 0] - 1] = 0
    assert changed_users(data, replace(data, log=data.log._replace(items=last))).size == 0


def test_users_that_a_log_lacks_have_no_events(data):
    kept = rows_of_users(data, np.array([1, 4, data.log.users, data.log.users + 3]))
    expected = [training_histories(data)[user] for user in (1, 4)] + [([], [])] * 2
    assert training_histories(kept) == expected


def test_a_log_that_shrank_is_refused(data):
    with pytest.raises(UserError, match="has 59 users and the log before it had 60: keep the dense ids"):
        changed_users(data, make_data(make_log(users=59)))
    with pytest.raises(UserError, match="has 39 items"):
        changed_users(data, replace(data, items=39))


def test_the_ability_is_a_protocol():
    assert isinstance(Ease(), Updatable) and not isinstance(Popularity(), Updatable)


def test_rows_are_padded_to_a_power_of_two():
    rows = inverse_update.dense_rows(sp.csr_array(np.eye(17, 20, dtype=np.float32)), 25)
    np.testing.assert_array_equal(rows, np.pad(np.eye(17), ((0, 15), (0, 8))))
