import os
import shutil

import pytest

from rexjax.artifacts import owned, store, versions
from rexjax.errors import UserError


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years")
    return folder


def finished(place, files=("rows.npy", "model/0/part")):
    folder = versions.begin(place, "key")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"of {name}")
    return store.finish(folder, "key", content={}, seconds=0, config={}, metrics={}).folder


def replace(path, text):
    path.unlink()
    path.write_text(text)


def link(path, target):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda f, o: None, []),
        (lambda f, o: (f / "notes.txt").write_text("mine"), ["notes.txt"]),
        (lambda f, o: (f / "model" / "notes.txt").write_text("mine"), ["model/notes.txt"]),
        (lambda f, o: replace(f / "rows.npy", "mine, and longer"), ["rows.npy"]),
        (lambda f, o: replace(f / "rows.npy", "OF rows.npy"), ["rows.npy"]),  # as long as it was
        (lambda f, o: link(f / "rows.npy", o / "thesis.tex"), ["rows.npy"]),
        (lambda f, o: link(f / "model", o), ["model"]),
    ],
    ids=["nothing", "a file", "a file in a folder", "replaced", "replaced alike", "a link", "a link to a folder"],
)
def test_of_an_old_version_what_is_the_users_stays_and_is_named(tmp_path, outside, capsys, change, left):
    old = finished(tmp_path / "encode")
    change(old, outside)
    finished(tmp_path / "encode")
    finished(tmp_path / "encode")
    remain = [path for path in old.rglob("*") if path.is_symlink() or not path.is_dir()] if old.exists() else []
    assert sorted(str(path.relative_to(old)) for path in remain) == left
    assert (outside / "thesis.tex").read_text() == "years"
    assert ("which rexjax did not write" in " ".join(capsys.readouterr().err.split())) == bool(left)


def test_a_manifest_that_names_files_elsewhere_removes_nothing_there(tmp_path, outside):
    old = finished(tmp_path / "encode")
    manifest = owned.read_json(old / "manifest.json")
    thesis = outside / "thesis.tex"
    manifest["files"][os.path.relpath(thesis, old)] = [5, owned.file_hash(thesis)]
    owned.write_json(old / "manifest.json", manifest)
    owned.remove_finished(old)
    assert thesis.exists() and not old.exists()


@pytest.mark.parametrize(
    "plant",
    [
        lambda f, o: f.write_text("mine"),
        lambda f, o: f.symlink_to(o),
        lambda f, o: f.symlink_to(o / "nowhere"),
        lambda f, o: (f / "sub").mkdir(parents=True),
        lambda f, o: shutil.copytree(o, f),
        lambda f, o: os.mkfifo(f),
    ],
    ids=["a file", "a link", "a dead link", "a folder", "a folder of files", "a pipe"],
)
def test_what_stands_in_the_way_is_refused_by_name(tmp_path, outside, plant):
    folder = tmp_path / "run" / "sweep"
    folder.parent.mkdir()
    plant(folder, outside)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="run holds sweep, which rexjax did not make"):
        owned.make(folder)
    owned.remove_unfinished(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_all_that_stands_in_the_way_is_named_at_once(tmp_path):
    with pytest.raises(UserError, match=r"holds a, b and c, which rexjax did not make"):
        owned.refuse([tmp_path / name for name in "cab"], tmp_path)
