import itertools
import os
import signal
from dataclasses import replace

import jax
import numpy as np
import pytest

from rexjax.config import Pooled, Training
from rexjax.data import batches, splits
from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.runtime import preemption
from rexjax.runtime.mesh import make_mesh
from rexjax.training import loop, multi_step, objectives
from rexjax.training.catalogue import Catalogue

N, W, L, B = 20, 4, 6, 8
CONFIG = Training(epochs=5, batch=B, warmup=2, learning_rate=1e-2)
MODEL = Pooled(width=4, profiles=2, hidden=6, dropout=0.3).recommender(L)


def log() -> Histories:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 40)
    offsets = np.append(0, np.cumsum(lengths))
    items = rng.integers(0, N, offsets[-1]).astype(np.int32)
    return Histories(items, np.arange(len(items), dtype=float), offsets, *splits.leave_one_out(offsets))


def catalogue() -> Catalogue:
    text = np.random.default_rng(1).normal(size=(N, W)).astype(np.float32)
    return Catalogue(text, np.zeros(N, np.int64))


class Scores:
    """A validation that answers with prescribed values, keeps the parameters it saw, and dies when it is told to."""

    def __init__(self, values, dies_at: int = 0):
        self.values, self.dies_at, self.seen = iter(values), dies_at, []

    def __call__(self, params) -> dict[str, float]:
        self.seen.append(jax.tree.map(np.array, params))
        if len(self.seen) == self.dies_at:
            raise KeyboardInterrupt
        return {"ndcg@10": next(self.values)}


def of_params(params) -> dict[str, float]:
    """A validation that depends on the parameters alone."""
    return {"ndcg@10": float(np.abs(np.asarray(params["rows"], np.float64)).mean())}


def epochs(number: int, first: int = 0):
    whole = batches.epoch([log()._asdict()], seed=0, epoch=number, batch=B, length=L)
    return ((b, None) for b in itertools.islice(whole, first, None))


def fit(folder, validate, config=CONFIG, epoch=epochs, loss=None) -> loop.Fitted:
    task = loop.Task("student", MODEL, loss or objectives.full_softmax(MODEL), epoch, validate, catalogue())
    return loop.train(task, config, seed=0, mesh=make_mesh(1, 1), folder=folder, save_every=1)


def timeless(curve):
    times = "seconds", "targets_per_second", "goodput"
    return [{k: v for k, v in entry.items() if k not in times} for entry in curve]


def same(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("cut", ["validate", "epoch"])
def test_a_resumed_run_is_a_straight_run(tmp_path, cut):
    straight = fit(tmp_path / "straight", of_params)
    calls, asked = [], []

    def dying(params):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return of_params(params)

    def cut_off(number: int, first: int):
        for n, pair in enumerate(epochs(number, first), first):
            if number == 2 and n == 1:
                raise KeyboardInterrupt
            yield pair

    def watched(number: int, first: int):
        for pair in epochs(number, first):
            asked.append(number)
            yield pair

    with pytest.raises(KeyboardInterrupt):
        if cut == "validate":
            fit(tmp_path / "cut", dying)
        else:
            fit(tmp_path / "cut", of_params, epoch=cut_off)
    resumed = fit(tmp_path / "cut", of_params, epoch=watched)
    assert set(asked) == ({2, 3, 4} if cut == "epoch" else {3, 4})  # no step was run again
    assert timeless(resumed.summary["curve"]) == timeless(straight.summary["curve"])
    assert len(straight.summary["curve"]) == 5
    assert resumed.summary["best_epoch"] == straight.summary["best_epoch"]
    same(resumed.params, straight.params)


@pytest.mark.parametrize("how, lost", [("signal", 0), ("kill", 1)])
def test_a_run_that_ends_within_an_epoch_goes_on_within_it(tmp_path, monkeypatch, how, lost):
    """Struck while the second step is under way: a signal lets it end and be saved."""
    monkeypatch.setattr(multi_step, "STEPS", 1)
    straight, asked = fit(tmp_path / "straight", of_params), []

    def struck(number: int, first: int):
        asked.append((number, first))
        for n, pair in enumerate(epochs(number, first), first):
            if (number, n) == (2, 2) and len(asked) == 3:
                if how == "kill":
                    raise KeyboardInterrupt
                os.kill(os.getpid(), signal.SIGTERM)
            yield pair

    with pytest.raises(preemption.Preempted if how == "signal" else KeyboardInterrupt), preemption.watched():
        fit(tmp_path / "cut", of_params, epoch=struck)
    resumed = fit(tmp_path / "cut", of_params, epoch=struck)
    assert asked == [(0, 0), (1, 0), (2, 0), (2, 2 - lost), (3, 0), (4, 0)]
    assert timeless(resumed.summary["curve"]) == timeless(straight.summary["curve"])
    same(resumed.params, straight.params)


@pytest.mark.parametrize(
    "values, changes, epochs_run, best",
    [
        ([0.1, 0.3, 0.2, 0.2, 0.9], {"patience": 2}, 4, 2),  # 0.9 would have come too late
        ([0.3, 0.3, 0.3], {"patience": 2}, 3, 1),  # no better is not better
        ([0.1, 0.2, 0.1, 0.3, 0.2], {"patience": 2}, 5, 4),
        ([0.0, 0.0, 0.0], {"patience": 2}, 3, 1),
        ([0.2, 0.1, 0.1], {"patience": 1, "validate_every": 2}, 4, 2),
        ([0.2, 0.3, 0.4], {"patience": 9, "validate_every": 2}, 5, 5),  # the last epoch is always validated
    ],
)
def test_early_stopping_returns_the_best_parameters(tmp_path, values, changes, epochs_run, best):
    validate, config = Scores(values), replace(CONFIG, **changes)
    fitted = fit(tmp_path, validate, config)
    assert fitted.summary["epochs"] == epochs_run == len(fitted.summary["curve"])
    assert fitted.summary["best_epoch"] == best
    place = -(-best // config.validate_every) - 1
    assert fitted.summary["valid_ndcg@10"] == values[place]
    same(fitted.params, validate.seen[place])
    assert any(np.any(fitted.params["rows"] != seen["rows"]) for seen in validate.seen)


def test_the_curve_is_reported_and_logged(tmp_path):
    curve = fit(tmp_path, of_params, replace(CONFIG, epochs=2)).summary["curve"]
    assert [entry["epoch"] for entry in curve] == [1, 2]
    assert all({"loss", "seconds", "targets_per_second", "goodput", "ndcg@10"} <= entry.keys() for entry in curve)
    assert curve[1]["loss"] != curve[0]["loss"]
    assert len((tmp_path / "logs" / "student.jsonl").read_text().splitlines()) == 2


def test_nan_loss_names_step_and_epoch(tmp_path):
    def poisoned(number: int):
        for n, (batch, _) in enumerate(epochs(number)):
            yield batch, np.float32(np.nan if (number, n) == (1, 2) else 0)

    def epoch(number: int, first: int):  # lists lie over the batch like everything else
        return ((batch, np.full(B, extra)) for batch, extra in poisoned(number))

    def summed(params, batch, lists, *rest):
        return objectives.full_softmax(MODEL).loss(params, batch, None, *rest) + lists.mean()

    with pytest.raises(
        UserError,
        match="loss of student became NaN in step 3 of epoch 2, whose batch begins with the items [0-9, ]+ .*: lower",
    ):
        fit(tmp_path, of_params, epoch=epoch, loss=objectives.WholeTable(summed))
    resumed = fit(tmp_path, of_params, replace(CONFIG, epochs=2))
    assert resumed.summary["epochs"] == 2 and np.isfinite(resumed.params["rows"]).all()
