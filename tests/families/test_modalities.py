from dataclasses import replace

import jax
import numpy as np
import pytest

from rexjax.artifacts import classes
from rexjax.config import Attended, Concatenated, Ease, Gated, Pooled, Student, Sum, Training, Transformer, TwoTower
from rexjax.distillation.teach import distill
from rexjax.errors import UserError
from rexjax.families.base import fit
from rexjax.families.modalities import widths_of
from tests.families.small_log import ITEMS, make_data, make_log, make_run

SHORT = Training(epochs=2, batch=8, warmup=2)


def data():
    rng = np.random.default_rng(2)
    image, audio = (rng.normal(size=(ITEMS, width)).astype(np.float32) for width in (5, 3))
    image[::3] = 0
    return replace(make_data(make_log()), content={"text": np.zeros((ITEMS, 0)), "image": image, "audio": audio})


def test_each_kind_of_vectors_is_a_modality_of_its_own():
    assert widths_of(data()) == (5, 3)
    assert widths_of(replace(data(), content={})) == ()


@pytest.mark.parametrize(
    "model",
    [
        Pooled(width=8, training=SHORT, modalities=Gated(drop=0.3)),
        Transformer(width=8, layers=1, training=SHORT, modalities=Attended(), fusion="gated"),
        TwoTower(width=8, training=SHORT, modalities=Concatenated(hidden=6, drop=0.2)),  # rows that a batch names
    ],
    ids=["pooled", "transformer", "two_tower"],
)
def test_a_model_with_modalities_is_fitted_the_same_on_one_and_more_devices(tmp_path, model):
    one, four = (model.fit(data(), make_run(tmp_path / str(devices), devices)) for devices in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-4), one, four)
    plain = replace(model, modalities=Sum()).fit(data(), make_run(tmp_path / "sum"))
    assert jax.tree.map(np.shape, one) == jax.tree.map(np.shape, plain)
    assert np.abs(np.asarray(one.items) - np.asarray(plain.items)).max() > 1e-3


def test_a_student_fuses_modalities_too(tmp_path):
    scorer = Ease().scorer(fit(Ease(), data(), make_run(tmp_path / "teacher")))
    student = Student(model=Pooled(width=8, training=SHORT, modalities=Attended()), top_k=5)
    assert np.isfinite(distill(scorer, student, data(), make_run(tmp_path / "student")).items).all()


def test_a_fusion_is_kept_by_its_class():
    model = Pooled(modalities=Attended(heads=4, drop=0.1))
    assert classes.from_dict(Pooled, classes.as_dict(model)) == model


@pytest.mark.parametrize(
    ("model", "content", "message"),
    [
        (Pooled(modalities=Gated()), {}, "modalities is Gated, and the items have no vectors"),
        (Pooled(modalities=Gated(), fusion="init_from_text"), None, "init_from_text reads vectors before training"),
        (Pooled(width=9, modalities=Attended()), None, "modalities.heads 2 do not divide the width 9"),
    ],
)
def test_a_choice_that_nothing_could_read_is_refused(tmp_path, model, content, message):
    with pytest.raises(UserError, match=message):
        model.fit(data() if content is None else replace(data(), content=content), make_run(tmp_path))
