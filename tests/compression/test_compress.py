from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rexjax.compression import compress, prune, variants
from rexjax.compression.settings import Compress
from rexjax.config import Model, Pooled, Popularity, Training, Transformer
from rexjax.embedding.quantized import QuantizedRows
from rexjax.errors import UserError
from rexjax.families.base import Run, SoftTargets
from rexjax.models import pooled_axes, recommender
from rexjax.models.scorer import Query
from rexjax.models.served import Served
from rexjax.runtime.mesh import make_mesh

N, L, D = 30, 6, 8
MODEL = Pooled(width=D, profiles=3, hidden=12)
SETTINGS = Compress(variants=("int8",), training=Training(epochs=9, batch=4), dropout=0.25)


def student(model=MODEL) -> Served:
    net = model.recommender(L)
    rows = jax.random.normal(jax.random.key(1), (N, D)) * jnp.arange(1.0, D + 1)
    params = nn.unbox(net.init(jax.random.key(0), 0)) | {"rows": rows}
    return recommender.serve(net, params, np.zeros((N, 0), np.float32), N)


class Tuner:
    """Keeps what it is asked to fine-tune, and adds one to every parameter."""

    def __init__(self):
        self.asked = []

    def __call__(self, model, tuning, name):
        self.asked.append((model, tuning, name))
        tuned = jax.tree.map(lambda leaf: leaf + 1, tuning.start)
        return tuned if tuning.prune is None else tuned._replace(history=tuning.prune(tuned.history))


def made(name: str, model=MODEL):
    tune = Tuner()
    found = compress.compress(variants.prepare(model, student(model), variants.parse(name, D)), SETTINGS, tune)
    return found.model, found.stored(), tune.asked


def scores(model, state) -> np.ndarray:
    scorer = model.scorer(state)
    asked = np.random.default_rng(0).integers(0, N, (7, L)).astype(np.int32)
    return np.asarray(scorer.score(state, scorer.encode(state, Query(asked)), jnp.arange(N)))


def test_int8_alone_is_not_trained_on_and_answers_nearly_as_the_student():
    model, state, asked = made("int8")
    assert model == MODEL and asked == []
    assert isinstance(state.items, QuantizedRows) and isinstance(state.history["up"]["kernel"], QuantizedRows)
    np.testing.assert_allclose(scores(model, state), scores(MODEL, student()), atol=0.03)


@pytest.mark.parametrize("name, width, bits", [("half", 4, 32), ("w6_int8", 6, 8), ("int4", 8, 4), ("w2_int4", 2, 4)])
def test_what_is_narrowed_or_in_int4_is_trained_on_as_it_will_be_stored(name, width, bits):
    model, state, ((tuned, tuning, said),) = made(name)
    assert model == replace(MODEL, width=width) and said == name and tuning.prune is None
    assert tuned == replace(model, dropout=0.25, training=SETTINGS.training)
    start = variants.prepare(MODEL, student(), variants.parse(name, D))
    jax.tree.map(np.testing.assert_array_equal, tuning.start, start.state)
    rows, nothing = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32), jnp.zeros((5, 0))
    seen = rows if tuning.fake_quantize is None else np.asarray(tuning.fake_quantize(jnp.asarray(rows), nothing))
    assert (seen == rows).all() == (bits == 32)
    expected = start._replace(state=jax.tree.map(lambda leaf: leaf + 1, start.state)).stored()
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def test_weights_are_pruned_in_three_steps_that_share_the_epochs():
    model, state, asked = made("sparse50")
    assert model == MODEL and [name for *_, name in asked] == [f"sparse50_{step}" for step in (1, 2, 3)]
    assert {tuned.training.epochs for tuned, *_ in asked} == {9 // 3}
    shares = prune.gradually(0.5, 3)
    for (_, tuning, _), share in zip(asked, shares, strict=True):
        for name in ("up", "down"):
            kernel = np.asarray(tuning.start.history[name]["kernel"])
            assert (kernel == 0).sum() == int(share * kernel.size)
            moved = np.asarray(tuning.prune(jax.tree.map(lambda leaf: leaf + 1, tuning.start.history))[name]["kernel"])
            np.testing.assert_array_equal(moved == 0, (kernel == 0) | (kernel == -1))
    kernel = np.asarray(state.history["up"]["kernel"])
    assert (kernel == 0).sum() == int(0.5 * kernel.size)


def test_a_student_that_cannot_be_narrowed_is_refused_and_can_be_quantised():
    model = Transformer(width=D, layers=1)
    with pytest.raises(UserError, match="--compress.variants half: student.model is Transformer, which cannot lose"):
        made("half", model)
    same, state, asked = made("int8", model)
    assert same == model and asked == []
    both = scores(model, state).ravel(), scores(model, student(model)).ravel()
    assert np.corrcoef(*both)[0, 1] > 0.999


def test_a_student_without_item_vectors_is_refused():
    with pytest.raises(UserError, match=r"student.model \(Fixed\) has no item vectors, which compression needs"):
        variants.width_of(Fixed(), {"scores": np.ones((N, 1), np.float32)})


@dataclass(frozen=True)
class Fixed(Model):
    def fit(self, data, run):
        raise NotImplementedError

    def scorer(self, state):
        return replace(Popularity().scorer(state), vectors=None)


def test_narrowing_turns_and_int8_rotates():
    half = variants.prepare(MODEL, student(), variants.parse("half", D)).state
    expected = pooled_axes.narrow(pooled_axes.by_importance(student()), 4)
    jax.tree.map(np.testing.assert_array_equal, half, expected)
    even = variants.prepare(MODEL, student(), variants.parse("int8", D)).state
    jax.tree.map(np.testing.assert_array_equal, even, pooled_axes.evenly(student()))


@pytest.mark.parametrize(("weight", "kept", "expected"), [(0.8, 8, 0.8), (0.8, 4, 0.9), (0.0, 2, 0.75), (1.0, 1, 1.0)])
def test_the_labels_weight_shrinks_with_the_width(weight, kept, expected):
    assert compress.teacher_weight(weight, kept, D) == pytest.approx(expected)


@dataclass(frozen=True)
class Taught(Fixed):
    """Says what it was asked."""

    def distill(self, data, soft, run, tuning=None):
        return data, soft, run.name, run.key, tuning


def test_the_tuner_distils_under_the_variants_name(tmp_path):
    soft, run = SoftTargets(lists=None), Run(make_mesh(1, 1), tmp_path, name="compress", key="student.model")
    tune = compress.fine_tuner("data", soft, run)
    assert tune(Taught(), "tuning", "half") == ("data", soft, "half", "compress", "tuning")
    with pytest.raises(UserError, match="of a variant that is fine-tuned is Popularity, which cannot learn from a te"):
        tune(Popularity(), "tuning", "half")
