import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.errors import UserError
from rexjax.runtime.mesh import make_mesh
from rexjax.training.negatives import draw_unowned, owned
from rexjax.training.pairs import Pairs, PairTask, PairTraining, train_pairs

USERS, ITEMS = 7, 23


def some_pairs(seed: int = 0) -> Pairs:
    """Users of 0 to N - 1 items."""
    rng = np.random.default_rng(seed)
    of_users = [rng.choice(ITEMS, size, replace=False) for size in (0, 1, 5, 11, 22, 22, 3)]
    users = np.repeat(np.arange(USERS), [len(items) for items in of_users])
    items = np.concatenate(of_users)
    order = rng.permutation(len(users))
    return Pairs(users[order].astype(np.int32), items[order].astype(np.int32), np.ones(len(users), np.float32))


def test_negatives_are_drawn_evenly_from_what_a_user_does_not_have():
    pairs = some_pairs()
    users, draws = np.arange(USERS), 4000
    drawn = np.asarray(draw_unowned(jax.random.key(0), owned(pairs.users, pairs.items, USERS), users, draws, ITEMS))
    for user in users:
        rest = np.setdiff1d(np.arange(ITEMS), pairs.items[pairs.users == user])
        counts = np.bincount(drawn[user], minlength=ITEMS)
        assert set(np.flatnonzero(counts)) == set(rest)
        np.testing.assert_allclose(counts[rest] / draws, 1 / len(rest), atol=5 * np.sqrt(1 / len(rest) / draws))


def squares(params, batch, constants):
    """Least squares of dot products: 1 for the positive item, 0 for the others."""
    tables = params["tables"]
    scores = (tables["users"][batch.users][:, None] * tables["items"][batch.items]).sum(-1) + params["dense"]
    targets = jnp.zeros_like(scores).at[:, 0].set(batch.values)
    return (jnp.square(scores - targets).mean(-1) * batch.where).sum() / batch.where.sum()


def task(loss=squares, validate=lambda params: 0.0) -> PairTask:
    rng = np.random.default_rng(1)
    tables = {"users": rng.normal(size=(USERS, 3)), "items": rng.normal(size=(ITEMS, 3))}
    params = {"tables": jax.tree.map(np.float32, tables), "dense": np.zeros(1, np.float32)}
    return PairTask("model", "model.training", params, loss, (), validate, "ndcg@10")


def trained(settings, devices=1, **changed):
    sizes = {"users": USERS, "items": ITEMS}
    return train_pairs(task(**changed), some_pairs(), settings, **sizes, seed=3, mesh=make_mesh(devices))


def test_eight_devices_train_as_one_does():
    settings = PairTraining(epochs=4, batch=16, negatives=2, patience=0, learning_rate=0.01)
    one, eight = (trained(settings, devices).params for devices in (1, 8))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, eight)
    again = trained(settings).params
    jax.tree.map(np.testing.assert_array_equal, one, again)


def test_every_pair_is_met_once_an_epoch_in_a_new_order_beside_items_that_the_user_does_not_have(monkeypatch):
    monkeypatch.setattr("rexjax.training.pairs.STEPS", 2)
    met = []

    def loss(params, batch, constants):
        jax.debug.callback(
            lambda *of: met.append([np.array(part) for part in of]), batch.users, batch.items, batch.where
        )
        return params["dense"].sum()

    trained(PairTraining(epochs=2, batch=16, negatives=2, patience=0), loss=loss)
    jax.effects_barrier()
    pairs, half = some_pairs(), len(met) // 2
    expected = sorted(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True))
    first, second = (
        [
            (user, row)
            for users, items, where in part
            for user, row in zip(users[where], items[where].tolist(), strict=True)
        ]
        for part in (met[:half], met[half:])
    )
    for epoch in (first, second):
        assert sorted((user, row[0]) for user, row in epoch) == expected
        assert not {(user, item) for user, row in epoch for item in row[1:]} & set(expected)
    assert [user for user, _ in first] != [user for user, _ in second]


def test_the_best_epoch_is_kept_and_patience_ends_it():
    seen = []

    def validate(params):
        seen.append(params)
        return [0.2, 0.5, 0.3, 0.4, 0.9][len(seen) - 1]

    fitted = trained(PairTraining(epochs=9, batch=16, negatives=2, patience=2), validate=validate)
    assert len(seen) == 4 and fitted.summary["best_epoch"] == 2 and fitted.summary["epochs"] == 4
    assert fitted.summary["valid_ndcg@10"] == 0.5 and len(fitted.summary["curve"]) == 4
    jax.tree.map(np.testing.assert_array_equal, fitted.params, seen[1])


def test_without_patience_the_last_epoch_is_kept_and_nothing_is_validated():
    fitted = trained(PairTraining(epochs=2, batch=16, negatives=2, patience=0), validate=None)
    assert fitted.summary["best_epoch"] == 2


@pytest.mark.parametrize(
    "settings, devices, message",
    [
        (
            {"negatives": ITEMS},
            1,
            "--model.training.negatives 23 is too many for a catalogue of 23 items: set it to 22 or less",
        ),
        ({"batch": 12}, 8, "--model.training.batch 12 is not divided by 8 data devices"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, devices, message):
    with pytest.raises(UserError, match=message):
        trained(PairTraining(**settings), devices)


def test_a_loss_of_nan_is_refused():
    with pytest.raises(UserError, match="became NaN in epoch 1: set --model.training.learning-rate lower"):
        trained(PairTraining(epochs=1, batch=16, negatives=2), loss=lambda params, *_: params["dense"].sum() * jnp.nan)


@pytest.mark.parametrize("name", ["epochs", "batch", "negatives", "learning_rate", "validate_users"])
def test_training_settings_that_mean_nothing_are_refused(name):
    with pytest.raises(UserError, match=f"{name}=0: set {name}"):
        PairTraining(**{name: 0})
