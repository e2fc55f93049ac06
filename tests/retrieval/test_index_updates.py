import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flax import linen as nn

from rexjax.config import Pooled
from rexjax.embedding.product import ProductRows
from rexjax.embedding.quantized import quantize_rows
from rexjax.models import text_map as text_maps
from rexjax.models.served import Served
from rexjax.retrieval import index, index_updates
from rexjax.retrieval.index_updates import Contents
from tests.reference import retrieval as reference
from tests.reference.compression import nearest_codes

N, W, D, L = 30, 12, 8, 5
RNG = np.random.default_rng(0)
MODEL = Pooled(width=D, profiles=2, hidden=6)
BITS = [32, 8, 4, "codes"]
BOOKS = jax.numpy.asarray(RNG.normal(size=(4, 256, 2)), jax.numpy.float16)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


ROWS = unit(RNG.normal(size=(N, D)))


def contents(bits, category=True):
    params = nn.unbox(MODEL.recommender(L).init(jax.random.key(0), 0))
    served = Served(jax.numpy.asarray(ROWS), params["history"])
    items = {name: [f"{name} {i}" for i in range(N)] for name in ("item_id", "title", "text")}
    items |= {"category": ["mugs", ""] * (N // 2)} if category else {}
    kept = served if bits == 32 else served._replace(items=in_bits(ROWS, bits))
    return Contents(kept, np.arange(N)[::-1].astype(np.int64), items)


def in_bits(rows, bits):
    if bits == "codes":
        return ProductRows(jax.numpy.asarray(nearest_codes(rows, BOOKS), jax.numpy.uint8), BOOKS)
    return quantize_rows(rows, bits, np.float16)


def new(*ids):
    return {name: [f"new {name} of {item}" for item in ids] for name in ("title", "text", "category")} | {
        "item_id": list(ids)
    }


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a.served, b.served)
    np.testing.assert_array_equal(a.popularity, b.popularity)
    assert a.items == b.items


# --- the map ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "noise"), [(400, 0.0), (400, 0.1), (400, 3.0), (20, 0.5)])
def test_the_map_is_that_of_least_squares_with_its_ridge(items, noise):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(items, W)) * np.linspace(0.1, 2, W) + 3
    rows = vectors @ rng.normal(size=(W, D)) - 1 + noise * rng.normal(size=(items, D))
    found = text_maps.fit_map(vectors, rows)
    kernel, bias = reference.ridge_map(vectors, rows, found.about["ridge"])
    np.testing.assert_allclose(found.kernel, kernel, atol=1e-5)
    np.testing.assert_allclose(found.bias, bias, atol=1e-4)
    assert found.about["items"] == items


@pytest.mark.parametrize("noise", [0.3, 3.0, 30.0])
def test_the_ridge_has_the_least_cross_validated_error_by_the_definition(noise):
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(60, W))
    rows = vectors @ rng.normal(size=(W, D)) + noise * rng.normal(size=(60, D))
    ridge, *_ = reference.fit_map(vectors, rows, text_maps.RIDGES)
    about = text_maps.fit_map(vectors, rows).about
    assert about["ridge"] == pytest.approx(ridge)
    left = reference.ridge_error(vectors, rows, ridge) / ((rows - rows.mean(0)) ** 2).sum()
    assert about["explained"] == pytest.approx(1 - left, abs=1e-9)


def test_what_text_says_nothing_of_is_explained_by_nothing():
    rng = np.random.default_rng(3)
    about = text_maps.fit_map(rng.normal(size=(500, W)), rng.normal(size=(500, D))).about
    assert abs(about["explained"]) < 0.05
    same_text = text_maps.fit_map(np.ones((5, W)), rng.normal(size=(5, D)))
    assert np.isfinite(same_text.kernel).all()


@pytest.mark.parametrize("known", [N, 7], ids=["more than the nearest", "fewer"])
def test_a_prediction_is_the_linear_one_and_what_it_leaves_of_the_nearest(known, monkeypatch):
    vectors, asked = RNG.normal(size=(known, W)), RNG.normal(size=(5, W)).astype(np.float32)
    found = text_maps.fit_map(vectors, ROWS[:known])
    rows = text_maps.predict(found, asked)
    expected = reference.predict(found.kernel, found.bias, vectors, ROWS[:known], asked)
    np.testing.assert_allclose(rows, expected, atol=5e-3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    monkeypatch.setattr(text_maps, "PREDICTED_AT_ONCE", 2)
    np.testing.assert_allclose(text_maps.predict(found, asked), rows, atol=1e-6)


def test_an_item_with_the_text_of_a_known_one_gets_its_row():
    vectors = RNG.normal(size=(N, W)).astype(np.float32)
    rows = text_maps.predict(text_maps.fit_map(vectors, ROWS), vectors)
    assert (rows * ROWS).sum(1).min() > 0.99


def test_the_map_is_learnt_from_popular_items_that_have_a_text(monkeypatch):
    known = contents(32)
    known.items["text"][1] = ""
    monkeypatch.setattr(index_updates, "MOST", 4)
    assert index_updates.learners(known).tolist() == [0, 2, 3, 4]


# --- put and remove ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", BITS)
def test_put_replaces_what_is_known_and_adds_what_is_not(bits):
    old, rows = contents(bits), unit(RNG.normal(size=(3, D)))
    found = index_updates.put(old, new("a", "item_id 4", "b"), rows)
    assert found.items["item_id"] == [*old.items["item_id"], "a", "b"]
    assert [found.items["title"][i] for i in (3, 4, 30, 31)] == [
        *("title 3", "new title of item_id 4", "new title of a", "new title of b")
    ]
    assert found.items["category"][4] == "new category of item_id 4" and old.items["title"][4] == "title 4"
    assert found.popularity.tolist() == [*old.popularity.tolist(), 0, 0]
    got = index_updates.rows_of(found, np.arange(N + 2))
    others = np.delete(np.arange(N), 4)
    np.testing.assert_array_equal(got[others], index_updates.rows_of(old, others))
    as_kept = rows if bits == 32 else reference.plain(in_bits(rows, bits))
    np.testing.assert_allclose(got[[30, 4, 31]], as_kept, atol=1e-7)

    def kinds(served):
        return jax.tree.map(lambda leaf: leaf.dtype, served)

    assert kinds(found.served) == kinds(old.served)


def test_items_without_training_are_as_long_as_those_that_the_student_has(tmp_path):
    old = contents(32)._replace(unmet=0.5)  # item 29 has no training interaction
    found = index_updates.put(old, new("a", f"item_id {N - 1}", "item_id 4"), unit(RNG.normal(size=(3, D))))
    lengths = np.linalg.norm(found.served.items, axis=1)
    np.testing.assert_allclose(lengths[[N, N - 1, 4]], [0.5, 0.5, 1], rtol=1e-5)
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    index.write(tmp_path / "before", MODEL, old.served, L, old.popularity, unmet=old.unmet)
    index_updates.write(tmp_path / "after", found, None, tmp_path / "before")
    assert index_updates.read(tmp_path / "after").unmet == 0.5


@pytest.mark.parametrize("bits", BITS)
def test_remove_leaves_the_others_as_they_were(bits):
    old = contents(bits)
    found = index_updates.remove(old, {"item_id 0", "item_id 7", "nobody"})
    stay = [i for i in range(N) if i not in (0, 7)]
    assert found.items == {name: [column[i] for i in stay] for name, column in old.items.items()}
    np.testing.assert_array_equal(found.popularity, old.popularity[stay])
    np.testing.assert_array_equal(
        index_updates.rows_of(found, np.arange(N - 2)), index_updates.rows_of(old, np.asarray(stay))
    )
    assert_same(index_updates.remove(old, set()), old)


def test_what_was_put_in_can_be_taken_out_again():
    old = contents(8)
    assert_same(
        index_updates.remove(index_updates.put(old, new("a", "b"), unit(RNG.normal(size=(2, D)))), {"a", "b"}), old
    )


# --- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_a_changed_index_is_read_as_it_was_written(bits, category, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    old = contents(bits, category)
    numbers = old.items | {"item_id": list(range(N)), "row": list(range(N))}  # as the pipeline leaves them
    pq.write_table(pa.table(numbers), before / "items.parquet")
    index.write(before, MODEL, old.served, L, old.popularity, name="small")
    found = index_updates.read(before)
    assert_same(found, old._replace(items=old.items | {"item_id": [str(i) for i in range(N)]}))
    assert index_updates.read_map(before) is None
    text_map = text_maps.fit_map(RNG.normal(size=(N, W)), ROWS)
    assert index_updates.write(after, index_updates.remove(found, {"3"}), text_map, before) == 2
    assert_same(index_updates.read(after), index_updates.remove(found, {"3"}))
    kept = index_updates.read_map(after)
    assert kept.about == text_map.about
    jax.tree.map(np.testing.assert_array_equal, kept._replace(about=None), text_map._replace(about=None))
    read = index.read(after)
    assert (read.name, read.version) == ("small", 2)
    assert len(read.titles) == N - 1 and read.categories == (
        old.items["category"][:3] + old.items["category"][4:] if category else None
    )
    assert read.popular.tolist() == list(range(N - 1)) and read.share.sum() == pytest.approx(1)
