import json
import shutil

import numpy as np
import pytest

from rexjax.artifacts import store
from rexjax.artifacts.files import write_json
from rexjax.errors import UserError
from rexjax.models.scorer import Query
from rexjax.models.served import flatten
from rexjax.retrieval import index as indexes
from rexjax.retrieval.topk import top_k
from rexjax.serving import comparison_export, export
from rexjax.serving.bundle import Bundle

HISTORY = np.asarray([[-1, -1, -1, 5, 80, 7, 2000, 11, 3, 42]], np.int32)


def test_what_was_exported_answers_as_the_models_of_the_workdir_and_says_its_bytes(workdir, compared):
    models = comparison_export.read(workdir, indexes.read(store.find(workdir / "index").folder))
    about, bundle = json.loads((compared / "bundle.json").read_text()), Bundle(compared)
    assert list(models) == list(about["compared"]) == ["teacher", "student"]
    for one in bundle.compared:
        model = models[one.name]
        scores, ids = top_k(model.encode(model.state, Query(HISTORY)), model.state.items, 20, exclude=HISTORY)
        found = one.answer(HISTORY, 20)
        assert found[0] == ids[0].tolist() and not set(found[0]) & set(HISTORY[0].tolist())
        np.testing.assert_allclose(found[1], scores[0], atol=1e-5)
        leaves = flatten(model.state).values()
        assert one.bytes_resident == about["compared"][one.name] == sum(leaf.nbytes for leaf in leaves)
    assert bundle.name == "student_int8" and bundle.bytes_resident < bundle.compared[1].bytes_resident


def test_their_files_are_hashed_like_all(compared, tmp_path):
    folder = shutil.copytree(compared, tmp_path / "export")
    (path,) = folder.glob("*/teacher.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"teacher.safetensors is missing or damaged"):
        Bundle(folder)


def test_a_workdir_without_them_is_told_so_and_nothing_is_written(workdir, tmp_path):
    alone = tmp_path / "workdir"
    shutil.copytree(workdir / "index", alone / "index")
    with pytest.raises(UserError, match="--compare needs the workdir's teacher and student: stage 'teacher' has not"):
        export.write(alone, tmp_path / "export", compare=True)
    assert not (tmp_path / "export").exists()
    export.write(alone, tmp_path / "export")
    assert Bundle(tmp_path / "export").compared == []


def test_an_index_whose_items_were_changed_is_not_compared(workdir):
    index = indexes.read(store.find(workdir / "index").folder)._replace(version=2)
    with pytest.raises(UserError, match="`rexjax items` has changed the index"):
        comparison_export.read(workdir, index)


def test_a_teacher_of_other_histories_is_refused(workdir, tmp_path):
    other = shutil.copytree(workdir, tmp_path / "workdir")
    path = store.find(other / "teacher").folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["data.length"] = 99
    write_json(path, manifest)
    with pytest.raises(
        UserError, match="other items or another history length than its index, which has 12000 items and length 10"
    ):
        export.write(other, tmp_path / "export", compare=True)
