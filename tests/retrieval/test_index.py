import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flax import linen as nn

from rexjax.compression.quantize import quantize
from rexjax.config import Pooled, Transformer
from rexjax.errors import UserError
from rexjax.models import recommender
from rexjax.models.served import Served, flatten, unflatten
from rexjax.retrieval import index
from rexjax.retrieval.answer import answer

N, L = 12, 5
MODELS = {
    "pooled": Pooled(width=8, profiles=2, hidden=6),
    "sequential": Transformer(width=8, layers=1, block="gated", temperature=0.07),
}
TITLES = ["Red Mug", "Blue Mug", "Tea Pot", "Kettle", *(f"Thing {n}" for n in range(4, N))]
POPULARITY = np.asarray([3, 9, 1, 9, *range(N - 4)], np.int64)


def float_served(family: Pooled | Transformer) -> Served:
    model = family.recommender(L)
    params = nn.unbox(model.init(jax.random.key(0), 3))
    params["rows"] = 0.02 * jax.random.normal(jax.random.key(1), (N, family.width))
    text = np.random.default_rng(0).normal(size=(128, 3)).astype(np.float32)
    return recommender.serve(model, params, text, N)


@pytest.fixture(scope="module", params=["float32 pooled", "int8 pooled", "int8 sequential"])
def written(request, tmp_path_factory):
    """An index read back from disk, and the model that was written with its state."""
    folder = tmp_path_factory.mktemp("index")
    kind, name = request.param.split()
    model = MODELS[name]
    served = float_served(model) if kind == "float32" else quantize(float_served(model), 8)
    pq.write_table(pa.table({"item_id": [f"id{n}" for n in range(N)], "title": TITLES}), folder / "items.parquet")
    index.write(folder, model, served, L, POPULARITY, name=name)
    return index.read(folder), model, served


@pytest.mark.parametrize("history", [[3], [0, 5, 2], [1, 2, 3, 4, 5, 6, 7]])
def test_an_index_answers_as_the_model_did(written, history):
    found, model, served = written
    padded = np.full((1, L), -1, np.int32)
    padded[0, -min(len(history), L) :] = history[-L:]
    request = jax.jit(answer(model.scorer(served), 4))
    scores, ids = jax.device_get(request(served, padded, np.asarray([history], np.int32)))
    got = index.recommend(found, history, 4)
    assert [(r.item_id, r.title) for r in got] == [(f"id{i}", TITLES[i]) for i in ids[0]]
    np.testing.assert_allclose([r.score for r in got], scores[0], rtol=1e-6)
    assert not {r.item_id for r in got} & {f"id{i}" for i in history}


def test_it_says_which_model_it_is_of_and_how_it_was_changed(written):
    found, model, _ = written
    assert MODELS[found.name] == model and (found.length, found.version) == (L, 1)


@pytest.mark.parametrize("kept", ["float32", "int4"])
def test_rows_of_another_catalogue_are_refused(kept, tmp_path):
    served = float_served(MODELS["pooled"])
    served = served if kept == "float32" else quantize(served, 4)
    with pytest.raises(UserError, match="small has 12 item rows and the catalogue 11 items"):
        index.write(tmp_path, MODELS["pooled"], served, L, POPULARITY[1:], name="small")
    assert not list(tmp_path.iterdir())


def test_categories_are_read_where_the_log_knows_them(written, tmp_path):
    assert written[0].categories is None
    names = {"item_id": [*"ab"], "title": ["A", "B"], "category": ["mugs", ""]}
    pq.write_table(pa.table(names), tmp_path / "items.parquet")
    served = float_served(MODELS["pooled"])
    index.write(tmp_path, MODELS["pooled"], served._replace(items=served.items[:2]), L, POPULARITY[:2])
    assert index.read(tmp_path).categories == ["mugs", ""]


def test_an_empty_history_gets_what_is_popular(written):
    got = index.recommend(written[0], [], 3)
    assert [r.title for r in got] == ["Blue Mug", "Kettle", "Thing 11"]
    np.testing.assert_allclose([r.score for r in got], np.asarray([9, 9, 7]) / POPULARITY.sum(), rtol=1e-6)


@pytest.mark.parametrize(
    "history, k, most", [([], N + 1, N), ([], 0, N), ([1], N, N - 1), ([1, 1, 2], N - 1, N - 2), ([1], -1, N - 1)]
)
def test_k_must_fit_the_catalogue(written, history, k, most):
    with pytest.raises(UserError, match=rf"--k {k}: .* set k from 1 to {most}"):
        index.recommend(written[0], history, k)


def test_the_largest_k_answers_everything_else(written):
    got = index.recommend(written[0], [1, 1, 2], N - 2)
    assert {r.item_id for r in got} == {f"id{n}" for n in range(N)} - {"id1", "id2"}
    assert np.isfinite([r.score for r in got]).all()


@pytest.mark.parametrize(
    "names, known, unknown",
    [
        (["id2", "Red Mug"], [2, 0], []),
        (["RED MUG", "id3", "tea pot"], [0, 3, 2], []),
        (["ID3", "kettle"], [3], ["ID3"]),  # case is folded in titles, never in ids
        (["nothing", "kettle"], [3], ["nothing"]),
        ([], [], []),
    ],
)
def test_find_items(written, names, known, unknown):
    assert index.find_items(written[0], names) == (known, unknown)


def test_ids_that_differ_by_case_alone_are_different_items(written):
    ids = ["aB", "Ab", "ab", "AB", *written[0].item_ids[4:]]
    found = written[0]._replace(item_ids=ids, rows={name: row for row, name in enumerate(ids)})
    assert index.find_items(found, ["AB", "ab", "aB", "Ab"]) == ([3, 2, 0, 1], [])


def test_a_title_of_several_items_asks_for_an_id(written):
    found = written[0]._replace(titles=["Mug", "mug", *written[0].titles[2:]])
    with pytest.raises(UserError, match="'MUG' is the title of 2 items: give an id instead, such as one of id0, id1"):
        index.find_items(found, ["MUG"])


@pytest.mark.parametrize(
    "name, hint", [("ketle", "did you mean 'Kettle'"), ("Blue Mugs", "did you mean 'Blue Mug'"), ("#", "'#')$")]
)
def test_an_unknown_history_names_the_nearest_titles(written, name, hint):
    with pytest.raises(UserError, match=hint.replace(")$", r"\)$")):
        index.find_items(written[0], [name])


@pytest.mark.parametrize("bits", [32, 8])
def test_unflatten_is_the_inverse_of_flatten(bits):
    served = float_served(MODELS["pooled"])
    served = served if bits == 32 else quantize(served, bits)
    leaves = flatten(served)
    assert all(type(leaf) is np.ndarray for leaf in leaves.values()) and len(leaves) == len(jax.tree.leaves(served))
    back = MODELS["pooled"].state_from(unflatten(leaves))
    assert jax.tree.structure(back) == jax.tree.structure(served)
    jax.tree.map(np.testing.assert_array_equal, back, served)
