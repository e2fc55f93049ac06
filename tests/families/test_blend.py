from dataclasses import dataclass, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rexjax.config import Blend, Model, Pooled, Popularity, Transformer
from rexjax.data import batches, splits
from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.evaluation import ranking, requests
from rexjax.families import blend
from rexjax.families.base import Run, TrainingData, Unsuitable
from rexjax.models import recommender
from rexjax.models.scorer import Query, Scorer, positions_of
from rexjax.models.served import flatten, unflatten
from rexjax.runtime.mesh import make_mesh

N, W, L, D = 20, 5, 10, 8


@dataclass(frozen=True)
class Fixed(Model):
    """Scores that do not depend on the user."""

    scores: tuple[float, ...] = ()

    def fit(self, data, run):
        return {"scores": np.asarray(self.scores, np.float32)[:, None]}

    def scorer(self, state):
        return Popularity().scorer(state)


def log() -> Histories:
    rng = np.random.default_rng(0)
    offsets = np.append(0, np.cumsum(rng.integers(4, 9, 30)))
    items = np.concatenate([rng.permutation(N)[: b - a] for a, b in zip(offsets, offsets[1:], strict=False)])
    return Histories(
        items.astype(np.int32), np.arange(len(items), dtype=float), offsets, *splits.leave_one_out(offsets)
    )


def data() -> TrainingData:
    return TrainingData(log(), [log()._asdict()], N, np.bincount(log().items, minlength=N), L)


def run(tmp_path, **about) -> Run:
    asked, _ = requests.build(log(), "valid", items=N, length=L)

    def validate(scorer, users=0):
        return ranking.evaluate(scorer, asked, ks=(10,)).means

    return Run(make_mesh(1, 1), tmp_path, validate=validate, key="teacher", **about)


def served(model, seed: int):
    """A state of a family that is trained by gradients, drawn by ``seed``."""
    net, text = model.recommender(L), np.random.default_rng(0).normal(size=(N, W)).astype(np.float32)
    params = nn.unbox(net.init(jax.random.key(seed), W))
    params |= {"rows": 0.5 * jax.random.normal(jax.random.key(10 + seed), (N, D))}
    return recommender.serve(net, params, text, N)


def histories(*lengths: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    found = np.full((len(lengths), L), -1, np.int32)
    for row, length in zip(found, lengths, strict=True):
        row[L - length :] = rng.integers(0, N, length)
    return found


def all_scores(scorer: Scorer, asked: np.ndarray) -> np.ndarray:
    encoded = scorer.encode(scorer.state, Query(asked))
    return np.asarray(scorer.score(scorer.state, encoded, jnp.arange(N)))


MEMBERS = {
    "three transformers": [Transformer(width=D, layers=1, heads=2)] * 3,
    "with a temperature": [Transformer(width=D, layers=1, heads=2, temperature=0.1)] * 3,
    "of two blocks": [Transformer(width=D, layers=1, heads=2, block=block) for block in ("hstu", "sasrec", "hstu")],
    "one that pools": [Transformer(width=D, layers=1, heads=2), Pooled(width=D, profiles=3, hidden=6)],
}


@cache
def mixed(kind: str, standardized: bool) -> tuple[Scorer, list[Scorer]]:
    """A blend whose members weigh alike, and the members."""
    members = tuple(MEMBERS[kind])
    states = {str(number): served(member, number) for number, member in enumerate(members)}
    state = {"members": states, "weights": np.full(len(members), 1 / len(members), np.float32)}
    singles = [member.scorer(states[str(number)]) for number, member in enumerate(members)]
    return Blend(members, standardized=standardized).scorer(state), singles


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_blend_that_is_not_standardized_scores_the_mean_of_its_members_logits(kind):
    whole, members = mixed(kind, False)
    asked = histories(L, 4, 1)
    expected = np.mean([member.scale * all_scores(member, asked) for member in members], 0)
    np.testing.assert_allclose(all_scores(whole, asked), expected, rtol=1e-4, atol=1e-5)
    assert whole.scale == 1.0 and whole.items == N and whole.vectors is None


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_standardized_blend_scores_the_mean_of_standard_scores(kind):
    whole, members = mixed(kind, True)
    asked = histories(L, 4, 1)
    found = [all_scores(member, asked).astype(float) for member in members]
    expected = np.mean([(x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in found], 0)
    np.testing.assert_allclose(all_scores(whole, asked), expected, rtol=1e-3, atol=1e-4)
    assert whole.scale is None


@pytest.mark.parametrize("standardized", [True, False])
def test_scores_of_some_items_and_of_positions_are_those_of_all(standardized):
    whole, _ = mixed("one that pools", standardized)
    asked, some = histories(L, 3), np.asarray([7, 2, 2, 19])
    encoded = whole.encode(whole.state, Query(asked))
    found = whole.score(whole.state, encoded, some)
    np.testing.assert_allclose(found, all_scores(whole, asked)[:, some], rtol=1e-5, atol=1e-6)
    (batch,) = list(batches.epoch([log()._asdict()], seed=0, epoch=0, batch=64, length=L))[:1]
    encoded = jax.tree.map(lambda leaf: leaf[0], positions_of(whole, whole.state, batch))
    last = int((batch.segments[0] == 1).sum()) - 1
    alone = np.full((1, L), -1, np.int32)
    alone[0, L - last - 1 :] = batch.items[0, : last + 1]
    by_position = whole.score(whole.state, encoded, np.arange(N))[last]
    np.testing.assert_allclose(by_position, all_scores(whole, alone)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("per_chunk", [8, 1 << 24])
def test_moments_are_those_of_the_whole_catalogue(monkeypatch, per_chunk):
    """Also of a catalogue that no chunk holds (chunks are of 1,024 items or more)."""
    monkeypatch.setattr(blend, "SCORES", per_chunk)
    items = 2500
    rows = np.random.default_rng(0).normal(2, 3, size=(items, 4)).astype(np.float32)
    users = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    mean, deviation = blend.moments(lambda ids: users @ jnp.asarray(rows)[ids].T, items)
    expected = users.astype(float) @ rows.T.astype(float)
    np.testing.assert_allclose(mean, expected.mean(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(deviation, expected.std(1), rtol=1e-3)


def test_a_member_that_says_nothing_adds_nothing():
    model = Blend((Fixed(tuple(range(N))), Fixed((5.0,) * N)), weights=(0.5, 0.5))
    state = {"members": {str(n): m.fit(None, None) for n, m in enumerate(model.members)}, "weights": np.full(2, 0.5)}
    expected = 0.5 * (np.arange(N) - (N - 1) / 2) / np.arange(N).std()
    np.testing.assert_allclose(all_scores(model.scorer(state), histories(3))[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("qualities", "expected"),
    [
        (lambda weights: -abs(weights[1] - 0.3), (0.7, 0.3, 0.0)),  # tenths, in the last round
        (lambda weights: weights[2], (0.0, 0.0, 1.0)),
        (lambda weights: -abs(weights[0] - 0.5) - weights[2], (0.5, 0.5, 0.0)),  # found in the second round
    ],
)
def test_ensemble_selection_finds_the_best_tenths(qualities, expected):
    seen = []

    def quality(weights):
        assert weights.sum() == pytest.approx(1)
        seen.append(tuple(weights.tolist()))
        return float(qualities(weights))

    weights, best = blend.select_ensemble(quality, 3)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert best == pytest.approx(float(qualities(np.asarray(expected))), abs=1e-6)
    assert len(set(seen)) == len(seen)  # no weights are judged twice


def test_weights_are_chosen_on_validation_and_a_useless_member_gets_none(tmp_path):
    counts = tuple(float(count) for count in data().popularity)
    worse = tuple(-count for count in counts)
    model = Blend((Fixed(worse), Fixed(counts)))
    state = model.fit(data(), run(tmp_path))
    own = run(tmp_path).validate(model.scorer(state))["ndcg@10"]
    assert own == max(run(tmp_path).validate(m.scorer(m.fit(None, None)))["ndcg@10"] for m in model.members)
    assert state["weights"][1] > state["weights"][0] and state["weights"].sum() == pytest.approx(1)


@dataclass(frozen=True)
class Misfit(Model):
    """Suits no log."""

    def fit(self, data, run):
        raise Unsuitable(f"--{run.key} is a Misfit")

    def scorer(self, state):
        raise AssertionError


@pytest.mark.parametrize("weights", [(), (0.2, 0.5, 0.3)])
def test_members_that_the_log_does_not_suit_are_left_out(tmp_path, capsys, weights):
    up, down = Fixed(tuple(range(N))), Fixed(tuple(-i for i in range(N)))
    model = Blend((up, Misfit(), down), weights=weights)
    state = model.fit(data(), run(tmp_path))
    assert "left out: --teacher.members.1 is a Misfit" in capsys.readouterr().err
    assert list(state["members"]) == ["0", "2"] and len(state["weights"]) == 2
    if weights:
        np.testing.assert_allclose(state["weights"], [0.2, 0.3])
    stored = model.state_from(unflatten(flatten(state)))
    kept = replace(model, members=(up, down), weights=(0.2, 0.3) if weights else ())
    expected = kept.scorer(kept.fit(data(), run(tmp_path)))
    asked = histories(3, 5)
    np.testing.assert_array_equal(all_scores(model.scorer(stored), asked), all_scores(expected, asked))


def test_a_blend_of_misfits_is_one(tmp_path):
    with pytest.raises(Unsuitable, match="members.1 is a Misfit"):
        Blend((Misfit(), Misfit())).fit(data(), run(tmp_path))


def test_weights_that_are_given_are_kept_and_validation_is_not_asked(tmp_path):
    asked = replace(run(tmp_path), validate=None)
    model = Blend((Fixed((1.0,) * N), Popularity()), weights=(0.25, 0.75))
    np.testing.assert_array_equal(model.fit(data(), asked)["weights"], np.float32([0.25, 0.75]))


@dataclass(frozen=True)
class Seeded(Model):
    def fit(self, data, run):
        return {"scores": np.full((N, 1), run.seed, np.float32), "told": np.asarray([len(run.name), len(run.key)])}

    def scorer(self, state):
        return Popularity().scorer(state)


def test_members_have_seeds_names_and_keys_of_their_own(tmp_path):
    model = Blend((Seeded(), Seeded()), weights=(0.5, 0.5))
    states = model.fit(data(), run(tmp_path, seed=3, name="teacher"))["members"]
    assert [float(state["scores"][0, 0]) for state in states.values()] == [3.0, 3.0 + 1_000_003]
    assert states["1"]["told"].tolist() == [len("teacher 2"), len("teacher.members.1")]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Blend(), "--teacher is a Blend without members: name two models or more"),
        (
            Blend((Popularity(), Fixed((1.0, 2.0)))),
            f"--teacher.members.1 knows 2 items and the log has {N}: the members of a blend share one catalogue",
        ),
        (
            Blend((Popularity(), Fixed((np.nan,) * N))),
            r"--teacher.members.1 \(Fixed\) was fitted to NaN in \['scores'\]: lower its learning rate",
        ),
    ],
)
def test_what_cannot_be_blended_is_refused(tmp_path, model, words):
    with pytest.raises(UserError, match=words):
        model.fit(data(), run(tmp_path))


def test_variations_change_one_member_and_recipes_are_of_those_with_gradients():
    model = Blend((Popularity(), Pooled(width=D)))
    assert {name.split(":")[0] for name in model.variations()} == {"member 1"}
    for other in model.variations().values():
        assert other.members[0] == Popularity() and other.members[1] != model.members[1]
    assert list(model.recipes(L)) == [" 2"]
