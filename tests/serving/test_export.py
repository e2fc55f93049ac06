import json

import numpy as np
import pytest
from jax import export as exports

from rexjax.artifacts import store
from rexjax.errors import UserError
from rexjax.models.scorer import Query
from rexjax.retrieval import index as indexes
from rexjax.retrieval.topk import top_k
from rexjax.serving import export
from rexjax.serving.bundle import Bundle
from tests.serving import conftest
from tests.serving.conftest import make

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "mask"])
@pytest.mark.parametrize("users", [1, 5, 64])
def test_the_exported_program_answers_as_the_index_for_any_batch(workdir, exported, users, masked):
    index, bundle = indexes.read(store.find(workdir / "index").folder), Bundle(exported)
    histories = RNG.integers(-1, bundle.items, (users, bundle.length)).astype(np.int32)
    mask = RNG.random((users, bundle.items)) < 0.5 if masked else None
    found = bundle.recommend(histories, histories, mask)
    state = index.scorer.state
    users = index.scorer.encode(state, Query(histories))
    scores, ids = top_k(users, state.items, bundle.k, exclude=histories, mask=mask)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)


def test_an_export_of_product_codes_answers_as_the_index(tmp_path):
    make(tmp_path / "run", 1, items=500, variant="pq4")
    export.write(tmp_path / "run", tmp_path / "bundle")
    index, bundle = indexes.read(store.find(tmp_path / "run" / "index").folder), Bundle(tmp_path / "bundle")
    assert bundle.rows > bundle.items == 500  # the codes are padded, the books are not
    histories = RNG.integers(-1, 500, (3, bundle.length)).astype(np.int32)
    found, state = bundle.recommend(histories, histories, None), index.scorer.state
    scores, ids = top_k(index.scorer.encode(state, Query(histories)), state.items, bundle.k, exclude=histories)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)


def test_similar_items_are_the_nearest_by_cosine_without_the_item(workdir, exported):
    bundle = Bundle(exported)
    rows = np.asarray(indexes.read(store.find(workdir / "index").folder).scorer.state.items.values, np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = bundle.similar(np.asarray([3, 77]))
    for item, ids in zip((3, 77), found.ids, strict=True):
        order = np.argsort(-(rows @ rows[item]), kind="stable")
        np.testing.assert_array_equal(ids[:20], order[order != item][:20])


def test_it_is_exported_for_all_platforms(exported):
    assert set(json.loads((exported / "bundle.json").read_text())["platforms"]) == {"cpu", "cuda", "tpu"}


def test_nothing_of_the_users_is_overwritten(workdir, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match="holds something else"):
        export.write(workdir, tmp_path)
    with pytest.raises(UserError, match="stage 'index' has not finished"):
        export.write(tmp_path, tmp_path / "new")


def test_an_export_that_is_cut_off_leaves_the_one_before_whole(workdir, exported, tmp_path, monkeypatch):
    folder = tmp_path / "export"
    monkeypatch.setattr(export.pq, "write_table", lambda *args: 1 / 0)  # the last file
    with pytest.raises(ZeroDivisionError):
        export.write(workdir, folder)
    with pytest.raises(UserError, match="is no finished export"):
        Bundle(folder)
    monkeypatch.undo()
    export.write(workdir, folder)  # again, into what was left
    (folder / "histories.db").write_text("not ours")
    monkeypatch.setattr(export.pq, "write_table", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.write(workdir, folder)
    Bundle(folder).check()
    monkeypatch.undo()
    export.write(workdir, folder)
    Bundle(folder).check()
    names = sorted(path.name.partition("-")[0] for path in folder.iterdir())
    assert names == ["bundle.json", "histories.db", "lock.json", "parts", "parts"]  # the parts before are kept
    assert (folder / "histories.db").read_text() == "not ours"


@pytest.mark.parametrize("variant", ["sparse50", "int8", "int4"])
@pytest.mark.parametrize("width", [16, 64, 128, 256])
def test_every_width_and_number_format_is_exported_for_cpu_and_tpu(tmp_path, monkeypatch, width, variant):
    monkeypatch.setattr(conftest, "D", width)
    make(tmp_path / "run", 1, items=4096, variant=variant)
    export.write(tmp_path / "run", tmp_path / "bundle", compare=True)
    program = next((tmp_path / "bundle").rglob("recommend.tpu8.program"))
    tpu = exports.deserialize(bytearray(program.read_bytes()))
    assert tpu.platforms == ("tpu",)
    index, bundle = indexes.read(store.find(tmp_path / "run" / "index").folder), Bundle(tmp_path / "bundle")
    histories = RNG.integers(-1, 4096, (3, bundle.length)).astype(np.int32)
    found, state = bundle.recommend(histories, histories, None), index.scorer.state
    scores, _ = top_k(index.scorer.encode(state, Query(histories)), state.items, bundle.k, exclude=histories)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)


def test_programs_for_tpu_of_large_catalogues_hold_the_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(conftest, "D", 128)
    make(tmp_path / "run", 1, items=1 << 17)
    export.write(tmp_path / "run", tmp_path / "bundle")
    program = next((tmp_path / "bundle").rglob("few.tpu8.program"))
    assert "tpu_custom_call" in exports.deserialize(bytearray(program.read_bytes())).mlir_module()
