import json
import os

import pytest

from rexjax.artifacts import store, versions
from rexjax.artifacts.files import file_hash, write_json
from rexjax.errors import UserError


def finish(folder, content="c", **files):
    for name, text in {"rows.npy": "1 2 3", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return store.finish(folder, "key", content={"model": content}, seconds=1.234, config={"a": 1}, metrics={"m": 0.5})


@pytest.fixture
def place(tmp_path):
    return tmp_path / "encode"


@pytest.fixture
def folder(place):
    return versions.begin(place, "key")


def test_a_finished_artifact_is_read_as_it_was_written(place, folder):
    written = finish(folder)
    read = store.read(place)
    assert read == written == store.find(place)
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
        folder = versions.begin(tmp_path / name / "encode", "key")
        return finish(folder, content, **{"model/_METADATA": name} | files).hash

    assert (made("a", "c", {"model/d/1": "-"}) == made("b", content, checkpoint | log)) == same


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing from a finished artifact"),
        (lambda f: os.truncate(f / "manifest.json", 10), "manifest.json is damaged"),
        (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json is damaged"),
        (lambda f: (f / "rows.npy").unlink(), "rows.npy is missing from a finished artifact"),
        (lambda f: os.truncate(f / "rows.npy", 3), r"rows.npy is damaged \(3 bytes, 5 when written\)"),
        (lambda f: (f / "rows.npy").write_text("1 2 4"), r"rows.npy is damaged \(5 bytes, 5 when written\)"),
    ],
)
def test_a_damaged_artifact_is_named_with_what_to_do(place, folder, damage, words):
    finish(folder)
    damage(folder)
    with pytest.raises(UserError, match=words) as caught:
        store.read(place)
    assert "rexjax encode CONFIG" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_that_has_not_finished_is_named(place, folder):
    with pytest.raises(UserError, match="stage 'encode' has not finished in .*: run `rexjax encode CONFIG` first"):
        store.read(place)


def test_a_reader_whose_version_vanishes_goes_on_with_the_newest(place, folder):
    finish(folder)
    tries = []

    def read(artifact):
        tries.append(artifact.folder)
        if len(tries) == 1:  # two are published while it reads: its own is removed
            for text in ("4", "5"):
                finish(versions.begin(place, text), **{"rows.npy": text})
        return (artifact.folder / "rows.npy").read_text()

    assert store.reading(place, read) == "5"
    assert len(tries) == 2 and not folder.exists()


def test_a_reader_of_a_damaged_version_that_nobody_replaces_is_told(place, folder):
    finish(folder)
    with pytest.raises(ZeroDivisionError):
        store.reading(place, lambda artifact: 1 / 0)


def test_what_is_published_without_ownership_does_not_count(place, folder):
    before = finish(folder)

    def lost():
        raise UserError("taken over")

    work = versions.begin(place, "other")
    (work / "rows.npy").write_text("4")
    with pytest.raises(UserError, match="taken over"):
        store.finish(work, "other", content={}, seconds=0, config={}, metrics={}, owner=versions.Owner(1, confirm=lost))
    assert store.read(place) == before
    assert versions.unfinished(place) == work


def artifact(folder, hash_):
    return store.Artifact(folder, {"hash": hash_})


def test_a_key_follows_stage_config_inputs_outside_files_and_versions(tmp_path):
    base = {
        "stage": "encode",
        "config": {"width": 8},
        "inputs": {"prepare": artifact(tmp_path, "h")},
        "external": {"v": "1"},
        "versions": {"jax": "0.10.0"},
    }
    changes = [
        {"stage": "teacher"},
        {"config": {"width": 16}},
        {"inputs": {"prepare": artifact(tmp_path, "other")}},
        {"external": {"v": "2"}},
        {"external": {}},
        {"versions": {"jax": "0.10.1"}},
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


def test_json_is_written_whole(tmp_path):
    write_json(tmp_path / "new" / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "new" / "x.json", {"a": object()})
    assert json.loads((tmp_path / "new" / "x.json").read_text()) == {"a": 1}


def test_a_workdir_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no workdir .*nowhere: name the one that `rexjax run CONFIG` wrote"):
        store.read(tmp_path / "nowhere" / "encode")
