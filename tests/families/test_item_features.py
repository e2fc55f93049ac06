from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.config import ItemKNN, Pooled, Student, Training, Transformer, TwoTower
from rexjax.data.features import FeatureArray
from rexjax.distillation.teach import distill
from rexjax.errors import UserError
from rexjax.families.base import fit
from rexjax.families.item_features import feature_columns
from rexjax.models.items import ItemEncoder
from rexjax.models.scorer import ask
from tests.families.small_log import ITEMS, make_data, make_log, make_run

BRANDS = (np.arange(ITEMS) % 3 + 1).astype(np.int32)
TAGS = np.stack([np.arange(ITEMS) % 4, np.where(np.arange(ITEMS) % 2, 2, -1)], 1).astype(np.int32)
SHARES = np.where(TAGS >= 0, [3.0, 1.0], 0).astype(np.float32)
SIZES = np.linspace(-1, 1, ITEMS).astype(np.float32)
DESCRIBED = (
    FeatureArray("brand", "ids", 4, about="item"),
    FeatureArray("tags", "bag", 5, 2, about="item"),
    FeatureArray("tags_weights", "weights", 0, 2, about="item"),
    FeatureArray("size", "numbers", about="item"),
    FeatureArray("age", "ids", 9, about="user"),
)
NAMES = ("brand", "tags", "size")
SHORT = Training(epochs=2, batch=8, warmup=2)


def data_with_features():
    data = make_data(make_log())
    features = {"brand": BRANDS, "tags": TAGS, "tags_weights": SHARES, "size": SIZES}
    features["age"] = np.zeros(data.log.users, np.int32)
    return replace(data, features=features, described=DESCRIBED)


def test_columns_are_one_hot_shares_and_numbers():
    found = feature_columns(data_with_features(), NAMES, "teacher")
    assert found.shape == (ITEMS, 4 + 5 + 1) and found.dtype == np.float32
    for item in range(ITEMS):
        expected = np.zeros(10)
        expected[BRANDS[item]] = 1
        total = sum(share for tag, share in zip(TAGS[item], SHARES[item], strict=True) if tag >= 0)
        for tag, share in zip(TAGS[item], SHARES[item], strict=True):
            if tag >= 0:
                expected[4 + tag] += share / total
        expected[9] = SIZES[item]
        np.testing.assert_allclose(found[item], expected, rtol=1e-6)


@pytest.mark.parametrize("names", [("colour",), ("age",), ("tags_weights",)])
def test_a_name_that_is_no_item_feature_is_refused(names):
    with pytest.raises(UserError, match=f"names {names[0]}, and the item features are brand, tags, size"):
        feature_columns(data_with_features(), names, "teacher")


def test_columns_of_too_many_bytes_are_refused():
    wide = (FeatureArray("brand", "ids", 1 << 30, about="item"),)
    with pytest.raises(UserError, match="--teacher.item-features need .* GB"):
        feature_columns(replace(data_with_features(), described=wide), ("brand",), "teacher")


@pytest.mark.parametrize("fusion", ["add", "gated", "text", "init_from_text"])
def test_an_encoder_adds_embeddings_of_the_last_columns(fusion):
    rows, text = jax.random.normal(jax.random.key(0), (6, 4)), jax.random.normal(jax.random.key(1), (6, 3))
    columns = jax.nn.one_hot(jnp.arange(6) % 2, 2)
    plain, both = ItemEncoder(4, fusion), ItemEncoder(4, fusion, 2)
    params = both.init(jax.random.key(2), rows, jnp.concatenate([text, columns], 1))["params"]
    shared = {name: value for name, value in params.items() if name != "features"}
    expected = plain.apply({"params": shared}, rows, text)
    at_first = both.apply({"params": params}, rows, jnp.concatenate([text, columns], 1))
    np.testing.assert_allclose(at_first, expected, rtol=1e-6)
    kernel = jax.random.normal(jax.random.key(3), (2, 4))
    found = both.apply({"params": shared | {"features": {"kernel": kernel}}}, rows, jnp.concatenate([text, columns], 1))
    np.testing.assert_allclose(found, expected + kernel[jnp.arange(6) % 2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        Pooled(width=8, training=SHORT),
        Transformer(width=8, layers=1, training=SHORT),
        TwoTower(width=8, training=SHORT),
    ],
    ids=["pooled", "transformer", "two_tower"],
)
def test_a_model_with_item_features_is_fitted_and_needs_none_of_them_to_answer(tmp_path, model):
    data, histories = data_with_features(), jnp.asarray([[-1, 0, 1]])
    with_features = replace(model, item_features=NAMES)
    state = with_features.fit(data, make_run(tmp_path / "with"))
    plain = model.fit(data, make_run(tmp_path / "without"))
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, plain)
    assert np.abs(np.asarray(state.items) - np.asarray(plain.items)).max() > 1e-4
    scorer = with_features.scorer(state)
    assert scorer.reads == ()
    assert np.isfinite(scorer.encode(state, ask(scorer, histories))).all()


def test_a_student_reads_item_features_too(tmp_path):
    data, student = data_with_features(), Pooled(width=8, training=SHORT, item_features=("brand",))
    teacher = ItemKNN(neighbours=7)
    scorer = teacher.scorer(fit(teacher, data, make_run(tmp_path / "teacher")))

    def taught(model, name):
        return distill(scorer, Student(model=model, top_k=5), data, make_run(tmp_path / name))

    found, plain = taught(student, "with"), taught(replace(student, item_features=()), "without")
    assert np.abs(np.asarray(found.items) - np.asarray(plain.items)).max() > 1e-4
