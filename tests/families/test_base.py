from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.config import (
    IALS,
    Blend,
    ItemKNN,
    Model,
    Pooled,
    Popularity,
    RecentPopularity,
    RP3beta,
    TextCosine,
    TextKNN,
    Transformer,
    TwoTower,
)
from rexjax.errors import UserError
from rexjax.families.base import Distillable, Narrowable, Planned, Run, check_state, fit, named, need, need_vectors
from rexjax.models.scorer import dot_product, score_matrix
from rexjax.models.served import Served
from rexjax.runtime.mesh import make_mesh


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ({"rows": np.ones(3), "bias": np.asarray([1.0, np.nan])}, r"\['bias'\]"),
        (Served(jnp.asarray([[jnp.nan]]), {}), ".items"),
        ({"members": {"0": {"x": np.ones((2, 2), np.float16)}, "1": np.float32(np.nan)}}, r"\['members'\]\['1'\]"),
    ],
)
def test_a_state_with_nan_is_refused_and_the_place_is_named(state, place):
    with pytest.raises(UserError, match=rf"teacher \(Ease\) was fitted to NaN in {place}: lower its learning rate"):
        check_state(state, "teacher (Ease)")


def test_a_state_without_nan_passes():
    check_state({"ids": np.arange(3), "far": np.asarray([np.inf, -np.inf]), "text": jnp.zeros((0, 3))}, "x")


@dataclass(frozen=True)
class Diverges(Model):
    def fit(self, data, run):
        return {"rows": np.full(2, np.nan)}

    def scorer(self, state):
        raise NotImplementedError


def test_what_is_fitted_is_checked_under_its_key(tmp_path):
    with pytest.raises(UserError, match=r"baselines.3 \(Diverges\) was fitted to NaN in \['rows'\]"):
        fit(Diverges(), None, Run(make_mesh(1, 1), tmp_path, key="baselines.3"))


ABLE = {
    Transformer(): {Distillable, Planned},
    Pooled(): {Distillable, Narrowable, Planned},
    TwoTower(): {Distillable, Narrowable, Planned},
    Blend((Popularity(), TextCosine())): {Planned},
    Popularity(): set(),
}


@pytest.mark.parametrize("model", ABLE, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize(
    ("ability", "words"),
    [
        (Distillable, "learn from a teacher"),
        (Narrowable, "lose dimensions"),
        (Planned, "be planned"),
    ],
)
def test_an_ability_is_asked_for_and_the_sentence_names_model_ability_and_key(model, ability, words):
    if ability in ABLE[model]:
        assert need(model, ability, "student.model") is model
        return
    with pytest.raises(UserError) as caught:
        need(model, ability, "student.model")
    name = type(model).__name__
    assert str(caught.value) == f"student.model is {name}, which cannot {words}: choose another class there"


def test_vectors_are_those_of_the_scorer_or_refused():
    items = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_array_equal(need_vectors(dot_product(None, items), "teacher", "an index"), items)
    with pytest.raises(UserError) as caught:
        need_vectors(score_matrix(items), "teacher (Blend)", "an index")
    sentence = "teacher (Blend) has no item vectors, which an index needs: choose a model that scores by dot products"
    assert str(caught.value) == sentence


@dataclass(frozen=True)
class Tunable(Model):
    l2: float = 500.0
    neighbours: int = 1
    off: float = 0.0
    normalize: bool = True
    kind: str = "cosine"

    def fit(self, data, run):
        raise NotImplementedError

    def scorer(self, state):
        raise NotImplementedError


def test_variations_double_and_halve_every_number():
    found = {name: (model.l2, model.neighbours) for name, model in Tunable().variations().items()}
    assert found == {
        "more l2": (1000.0, 1),
        "less l2": (250.0, 1),
        "more neighbours": (500.0, 2),
    }


def test_a_model_that_is_chosen_on_validation_needs_to_be_told_how(tmp_path):
    with pytest.raises(UserError, match="chosen on validation: give Run a validate function"):
        Run(make_mesh(1, 1), tmp_path).validate(None)


def test_models_are_named_by_their_classes():
    models = (ItemKNN(), IALS(), RP3beta(), RecentPopularity(), ItemKNN(decay=0.5), TextKNN())
    assert list(named(models)) == ["item_knn", "ials", "rp3beta", "recent_popularity", "item_knn_2", "text_knn"]
