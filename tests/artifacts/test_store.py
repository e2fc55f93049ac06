import json
import os

import pytest

from rexjax.artifacts import store
from rexjax.artifacts.files import file_hash
from rexjax.errors import UserError


def finish(folder, content="c", **files):
    for name, text in {"rows.npy": "1 2 3", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return store.finish(folder, "key", content={"model": content}, seconds=1.234, config={"a": 1}, metrics={"m": 0.5})


@pytest.fixture
def folder(tmp_path):
    store.begin(tmp_path / "encode", "key")
    return tmp_path / "encode"


def test_a_finished_artifact_is_read_as_it_was_written(folder):
    written = finish(folder)
    read = store.read(folder)
    assert read == written
    assert read.metrics == {"m": 0.5}
    assert read.manifest["seconds"] == 1.23
    assert read.manifest["versions"].keys() >= {"jax", "flax", "numpy"}
    assert not (folder / "started.json").exists()


@pytest.mark.parametrize(
    ("checkpoint", "log", "content", "same"),
    [
        ({"model/d/1": "written at noon"}, {}, "c", True),  # what is in a checkpoint counts by its content digest
        ({"model/d/2": "a file of another name"}, {}, "c", True),
        ({}, {"logs/teacher.jsonl": "{}", "logs/events.out.tfevents.17": "x"}, "c", True),
        ({}, {}, "other parameters", False),
        ({}, {"rows.npy": "1 2 4"}, "c", False),
        ({}, {"more.npy": ""}, "c", False),
        ({}, {"model2/d": ""}, "c", False),
    ],
)
def test_the_hash_is_that_of_the_content_not_of_the_clock(tmp_path, checkpoint, log, content, same):
    def made(name, content, files):
        folder = tmp_path / name / "encode"
        store.begin(folder, "key")
        return finish(folder, content, **{"model/_METADATA": name} | files).hash

    assert (made("a", "c", {"model/d/1": "-"}) == made("b", content, checkpoint | log)) == same


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "manifest.json").unlink(), "stage 'encode' has not finished"),
        (lambda f: os.truncate(f / "manifest.json", 10), "stage 'encode' has not finished"),
        (lambda f: (f / "manifest.json").write_text("[]"), "stage 'encode' has not finished"),
        (lambda f: (f / "rows.npy").unlink(), "rows.npy is missing from a finished artifact"),
        (lambda f: os.truncate(f / "rows.npy", 3), r"rows.npy is damaged \(3 bytes, 5 when written\)"),
        (lambda f: (f / "rows.npy").write_text("1 2 4"), r"rows.npy is damaged \(5 bytes, 5 when written\)"),
    ],
)
def test_a_damaged_artifact_is_named_with_what_to_do(folder, damage, words):
    finish(folder)
    damage(folder)
    with pytest.raises(UserError, match=words) as caught:
        store.read(folder)
    assert "rexjax encode CONFIG" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "kept"), [("key", True), ("another", False)])
def test_begin_keeps_what_an_interrupted_run_of_the_same_key_left(folder, key, kept):
    (folder / "shard.npy").write_text("half")
    store.begin(folder, key)
    assert (folder / "shard.npy").exists() == kept
    assert json.loads((folder / "started.json").read_text())["key"] == key


def test_begin_removes_a_finished_artifact(folder):
    finish(folder)
    store.begin(folder, "key")
    assert [path.name for path in folder.iterdir()] == ["started.json"]


def artifact(folder, hash_):
    return store.Artifact(folder, {"hash": hash_})


def test_a_key_follows_stage_config_inputs_and_outside_files(tmp_path):
    base = {
        "stage": "encode",
        "config": {"width": 8},
        "inputs": {"prepare": artifact(tmp_path, "h")},
        "external": {"v": "1"},
    }
    changes = [
        {"stage": "teacher"},
        {"config": {"width": 16}},
        {"inputs": {"prepare": artifact(tmp_path, "other")}},
        {"external": {"v": "2"}},
        {"external": {}},
    ]
    keys = [store.stage_key(**base), *(store.stage_key(**base | change) for change in changes)]
    assert len(set(keys)) == len(keys)
    moved = base | {"inputs": {"prepare": artifact(tmp_path / "elsewhere", "h")}}
    assert store.stage_key(**moved) == keys[0]


def test_a_folders_hash_depends_on_names_and_bytes(tmp_path):
    for name, files in {"a": {"x": "1"}, "b": {"x": "1"}, "c": {"y": "1"}, "d": {"x": "2"}}.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    a, b, c, d = (file_hash(tmp_path / name) for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


def test_a_workdir_that_orbax_could_not_read_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has a \[, which checkpoints cannot bear: choose another --workdir"):
        store.claim_workdir(tmp_path / "runs [2]" / "shop", {}, update=False)


def test_a_workdir_with_a_finished_stage_belongs_to_its_config(tmp_path):
    assert store.claim_workdir(tmp_path, {"a": {"b": 1}}, update=False) == []
    # nothing has finished yet: a first run that failed ties the workdir to nothing
    assert store.claim_workdir(tmp_path, {"a": {"b": 2}}, update=False) == ["a.b: 1 -> 2"]
    store.begin(tmp_path / "encode", "key")
    finish(tmp_path / "encode")
    assert store.claim_workdir(tmp_path, {"a": {"b": 2}}, update=False) == []
    with pytest.raises(UserError, match=r"another config \(a.b: 2 -> 3\).*--workdir.*--update"):
        store.claim_workdir(tmp_path, {"a": {"b": 3}}, update=False)
    assert json.loads((tmp_path / "config.json").read_text()) == {"format": store.FORMAT, "a": {"b": 2}}
    assert store.claim_workdir(tmp_path, {"a": {"b": 3}}, update=True) == ["a.b: 2 -> 3"]
    assert json.loads((tmp_path / "config.json").read_text()) == {"format": store.FORMAT, "a": {"b": 3}}


@pytest.mark.parametrize("config", [{"a": 1}, {"format": store.FORMAT - 1, "a": 1}, {"format": store.FORMAT + 1}])
@pytest.mark.parametrize("update", [False, True])
def test_a_workdir_of_another_version_is_refused(tmp_path, config, update):
    store.write_json(tmp_path / "config.json", config)
    store.claim_workdir(tmp_path, {"a": 1}, update=update)  # nothing has finished there
    store.write_json(tmp_path / "config.json", config)
    store.begin(tmp_path / "encode", "key")
    finish(tmp_path / "encode")
    with pytest.raises(UserError, match="was made by another version of rexjax, .*: choose another --workdir, or rem"):
        store.claim_workdir(tmp_path, {"a": 1}, update=update)
    assert json.loads((tmp_path / "config.json").read_text()) == config


def test_json_is_written_whole(tmp_path):
    store.write_json(tmp_path / "new" / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        store.write_json(tmp_path / "new" / "x.json", {"a": object()})
    assert json.loads((tmp_path / "new" / "x.json").read_text()) == {"a": 1}
