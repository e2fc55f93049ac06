import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rexjax.compression.quantize import quantize_tree
from rexjax.config.schema import Student, Teacher
from rexjax.embedding.quantized import dequantize_tree
from rexjax.embedding.rows import gather
from rexjax.models import recommender
from rexjax.models.served import Served
from rexjax.retrieval import scorer

N, D, L = 15, 8, 6
MODELS = {
    "teacher": recommender.teacher(Teacher(width=D, layers=1, heads=2), L),
    "student": recommender.student(Student(width=D, kernels=2, hidden=6), L),
}
HISTORIES = np.asarray([[-1, -1, -1, 4, 2, 9], [0, 1, 2, 3, 4, 5]], np.int32)


def served(name: str) -> Served:
    params = jax.tree.map(jnp.asarray, recommender.nn.unbox(MODELS[name].init(jax.random.key(0), 3)))
    params["rows"] = 0.02 * jax.random.normal(jax.random.key(1), (N, MODELS[name].items.width))
    text = np.random.default_rng(0).normal(size=(128, 3)).astype(np.float32)
    return recommender.serve(MODELS[name], params, text, N)


def ask(model: scorer.Scorer, histories, k: int, exclude=None):
    exclude = histories if exclude is None else exclude
    return jax.tree.map(np.asarray, jax.jit(scorer.answer(model, k))(model.served, histories, exclude))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_model(name, int8):
    plain = served(name)
    model = scorer.model(MODELS[name], quantize_tree(plain) if int8 else plain)
    twin = dequantize_tree(model.served)
    users = jax.jit(lambda s: MODELS[name].encode(s.history, *gather(s.items, HISTORIES)))(twin)
    np.testing.assert_allclose(jax.jit(model.encode)(model.served, HISTORIES), users, rtol=0, atol=1e-5)
    scores, ids = ask(model, HISTORIES, 5)
    every = np.array(np.asarray(users) @ np.asarray(twin.items).T)
    for row, history in zip(every, HISTORIES, strict=True):
        row[history[history >= 0]] = -np.inf
    np.testing.assert_allclose(scores, -np.sort(-every, axis=1)[:, :5], rtol=0, atol=1e-4)
    assert not any(set(row) & set(history) for row, history in zip(ids, HISTORIES, strict=True))


def test_popularity_is_the_same_list_for_everybody_but_for_what_they_have():
    counts = np.asarray([5, 9, 0, 9, 7])
    scores, ids = ask(scorer.popularity(counts), np.asarray([[-1, 0], [1, 4]], np.int32), 3)
    np.testing.assert_array_equal(ids, [[1, 3, 4], [3, 0, 2]])
    np.testing.assert_array_equal(scores, [[9, 9, 7], [9, 5, 0]])


def test_text_cosine_looks_at_the_latest_item_alone():
    text = np.asarray([[2.0, 0.0], [10.0, 1.0], [0.0, 0.5], [-1.0, 0.1], [0.0, 0.0]], np.float32)
    scores, ids = ask(scorer.text_cosine(text), np.asarray([[2, 0], [0, 2], [-1, -1]], np.int32), 2)
    np.testing.assert_array_equal(ids[:2], [[1, 4], [1, 3]])
    np.testing.assert_allclose(scores[:2], [[10 / np.sqrt(101), 0], [1 / np.sqrt(101), 0.1 / np.sqrt(1.01)]], rtol=1e-5)
    np.testing.assert_array_equal(scores[2], 0)  # an empty history: nothing is near
