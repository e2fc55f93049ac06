from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.config import Blend, CrossFitted, Ease, Pooled, Student, Training, Transformer
from rexjax.data import batches
from rexjax.data.features import FeatureArray
from rexjax.distillation.teach import distill
from rexjax.errors import UserError
from rexjax.families.base import fit, need_history_alone
from rexjax.families.cross_fitted import restrict_to_users
from rexjax.families.user_features import with_features
from rexjax.models.scorer import USER, Query, ask, positions_of, prefixes
from rexjax.models.served import flatten, unflatten
from rexjax.models.user_features import embed
from tests.families.small_log import ITEMS, LENGTH, USERS, make_data, make_log, make_run

COUNTRY = (np.arange(USERS) % 3 + 1).astype(np.int32)
TAGS = np.stack([np.arange(USERS) % 4, np.where(np.arange(USERS) % 2, 2, -1)], 1).astype(np.int32)
AGE = np.linspace(-1, 1, USERS).astype(np.float32)
DESCRIBED = (
    FeatureArray("country", "ids", 4, about="user"),
    FeatureArray("tags", "bag", 5, 2, about="user"),
    FeatureArray("age", "numbers", about="user"),
    FeatureArray("brand", "ids", 3, about="item"),
)
NAMES = ("country", "tags", "age")
MODEL = Transformer(
    width=8, layers=1, heads=1, user_features=NAMES, training=Training(epochs=2, batch=8, warmup=2, learning_rate=0.02)
)


@pytest.fixture(scope="module")
def data():
    features = {"country": COUNTRY, "tags": TAGS, "age": AGE, "brand": np.zeros(ITEMS, np.int32)}
    return replace(make_data(make_log()), features=features, described=DESCRIBED)


@pytest.fixture(scope="module")
def state(data, tmp_path_factory):
    return MODEL.fit(data, make_run(tmp_path_factory.mktemp("fit")))


def query(histories, users):
    features = {"country": COUNTRY[users], "tags": TAGS[users], "age": AGE[users]}
    return Query(jnp.asarray(histories), None, {name: jnp.asarray(value) for name, value in features.items()})


def batch_of(data):
    return next(batches.epoch(data.records, seed=0, epoch=0, batch=8, length=LENGTH))


def test_embeddings_are_sums_of_rows_means_of_bags_and_multiples():
    tables = {"a": jnp.arange(6.0).reshape(3, 2), "b": jnp.arange(8.0).reshape(4, 2), "c": jnp.asarray([1.0, -1.0])}
    features = {"a": [[2]], "b": [[[1, 3, -1]]], "c": [[0.5]], "unread": [[7]]}
    found = embed(tables, {name: jnp.asarray(value) for name, value in features.items()})
    np.testing.assert_allclose(found, [[[4 + (2 + 6) / 2 + 0.5, 5 + (3 + 7) / 2 - 0.5]]])
    assert embed(tables, None) == 0 and embed({}, {"a": jnp.asarray([[1]])}) == 0
    np.testing.assert_array_equal(embed({"b": tables["b"]}, {"b": jnp.full((1, 1, 3), -1)}), np.zeros((1, 1, 2)))


def test_a_batch_gets_the_features_of_its_events_users(data):
    packed = batch_of(data)
    found = with_features(packed, data, (USER, "country", "tags"))
    owners = np.searchsorted(data.log.offsets, packed.events, "right") - 1
    np.testing.assert_array_equal(found.users, owners)
    np.testing.assert_array_equal(found.features["country"], COUNTRY[owners])
    np.testing.assert_array_equal(found.features["tags"], TAGS[owners])
    assert with_features(packed, data, ("brand",)) is packed


def test_users_that_are_left_out_take_their_features_with_them(data):
    kept = np.arange(1, USERS, 3)
    part = restrict_to_users(data, kept)
    packed = batch_of(part)
    found = with_features(packed, part, ("country",))
    whole = with_features(packed, data, ("country",))
    real = packed.segments > 0
    np.testing.assert_array_equal(found.features["country"][real], whole.features["country"][real])
    np.testing.assert_array_equal(part.features["country"], COUNTRY[kept])
    np.testing.assert_array_equal(part.features["brand"], data.features["brand"])


def test_training_moves_the_tables_and_answers_depend_on_the_user(data, state):
    tables = state.history["user_features"]
    assert {name: np.shape(table) for name, table in tables.items()} == {"country": (4, 8), "tags": (5, 8), "age": (8,)}
    assert all(np.abs(np.asarray(table)).max() > 1e-4 for table in tables.values())
    assert np.abs(np.asarray(tables["country"])[0]).max() == 0, "no user has the id 0"
    scorer, histories = MODEL.scorer(state), np.tile(np.asarray([[-1, 0, 1]]), (2, 1))
    assert scorer.reads == NAMES
    alike, apart = (scorer.encode(state, query(histories, users)) for users in ([4, 4], [4, 5]))
    np.testing.assert_allclose(alike[0], alike[1], rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(apart[0] - apart[1])).max() > 1e-3


def test_positions_are_the_requests_of_their_prefixes(data, state):
    scorer, packed = MODEL.scorer(state), with_features(batch_of(data), data, NAMES)
    real = (packed.segments > 0) & (packed.positions == LENGTH - 1)  # elsewhere a prefix counts its positions anew
    found = np.asarray(positions_of(scorer, state, packed))[real]
    asked = prefixes(packed._replace(times=np.zeros_like(packed.times)))
    asked = ask(scorer, asked.histories, None, asked.features)
    expected = np.asarray(scorer.encode(state, asked)).reshape(*real.shape, -1)[real]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_stored_state_answers_alike(state):
    again = MODEL.state_from(unflatten(flatten(state)))
    asked = query([[3, 2, 1]], [7])
    np.testing.assert_array_equal(MODEL.scorer(again).encode(again, asked), MODEL.scorer(state).encode(state, asked))


def test_devices_do_not_matter(data, tmp_path, state):
    found = MODEL.fit(data, make_run(tmp_path, devices=8))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), found.history, state.history)


@pytest.mark.parametrize("wrap", [lambda model: Blend((model, Ease())), CrossFitted], ids=["blend", "cross_fitted"])
def test_such_a_model_teaches_alone_and_in_others(data, tmp_path, wrap):
    teacher = wrap(replace(MODEL, training=Training(epochs=1, batch=8)))
    scorer = teacher.scorer(fit(teacher, data, make_run(tmp_path / "teacher")))
    assert set(NAMES) <= set(scorer.reads)
    student = Student(model=Pooled(width=8, training=Training(epochs=1, batch=8)), top_k=5)
    taught = distill(scorer, student, data, make_run(tmp_path / "student"))
    assert np.isfinite(np.asarray(taught.items)).all()


def test_names_and_serving_are_refused(data, tmp_path, state):
    with pytest.raises(UserError, match="names brand, and the user features are country, tags, age"):
        replace(MODEL, user_features=("brand",)).fit(data, make_run(tmp_path))
    teacher = Ease()
    scorer = teacher.scorer(fit(teacher, data, make_run(tmp_path / "teacher")))
    with pytest.raises(UserError, match="a student is served by histories alone"):
        distill(scorer, Student(model=MODEL, top_k=5), data, make_run(tmp_path / "student"))
    with pytest.raises(UserError, match="reads the feature country, tags, age of each request"):
        need_history_alone(MODEL.scorer(state), "teacher", "an export")
