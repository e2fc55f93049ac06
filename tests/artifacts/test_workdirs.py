import json

import pytest

from rexjax.artifacts import store, versions, workdirs
from rexjax.artifacts.files import write_json
from rexjax.errors import UserError

STAGES = ("prepare", "encode")


def claim(workdir, config, *, update=False):
    return workdirs.claim(workdir, STAGES, config, update=update)


def finish(workdir):
    folder = versions.begin(workdir / "encode", "key")
    store.finish(folder, "key", content={}, seconds=0, config={}, metrics={})


def read(workdir):
    return json.loads((workdir / "config.json").read_text())


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "workdir"
    folder.mkdir()
    return folder


def test_a_workdir_that_orbax_could_not_read_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"has a \[ in its path, which checkpoints do not allow: choose another --workdir"
    ):
        workdirs.folder_of(tmp_path / "runs [2]" / "shop")


def test_a_workdir_with_a_finished_stage_belongs_to_its_config(workdir):
    mark = {"made_by": "rexjax", "format": store.FORMAT}
    assert claim(workdir, {"a": {"b": 1}}) == []
    # nothing has finished yet: a first run that failed ties the workdir to nothing
    assert claim(workdir, {"a": {"b": 2}}) == ["a.b: 1 -> 2"]
    finish(workdir)
    assert claim(workdir, {"a": {"b": 2}}) == []
    with pytest.raises(UserError, match=r"another config \(a.b: 2 -> 3\).*--workdir.*--update"):
        claim(workdir, {"a": {"b": 3}})
    assert read(workdir) == mark | {"a": {"b": 2}}
    assert claim(workdir, {"a": {"b": 3}}, update=True) == ["a.b: 2 -> 3"]
    assert read(workdir) == mark | {"a": {"b": 3}}
    assert workdirs.read_config(workdir) == {"a": {"b": 3}}


@pytest.mark.parametrize(
    "config",
    [
        {"format": store.FORMAT - 1, "a": 1},
        {"format": store.FORMAT + 1, "made_by": "rexjax"},
        {"format": 1},
    ],
)
@pytest.mark.parametrize("update", [False, True])
def test_a_workdir_of_another_version_is_refused(workdir, config, update):
    write_json(workdir / "config.json", config)
    words = "was made by another version of rexjax, .*: choose another --workdir, or remove its config.json"
    with pytest.raises(UserError, match=words):
        claim(workdir, {"a": 1}, update=update)
    with pytest.raises(UserError, match=words):
        workdirs.read_config(workdir)
    assert read(workdir) == config


def test_a_workdir_of_the_first_version_has_no_format(workdir):
    write_json(workdir / "config.json", {"a": 1})
    write_json(workdir / "prepare" / "manifest.json", {"key": "k"})
    with pytest.raises(UserError, match="was made by another version of rexjax"):
        claim(workdir, {"a": 1})


@pytest.mark.parametrize("content", ['{"a": 1}', "[]", "", "no JSON"])
def test_a_config_of_another_program_is_no_workdirs(workdir, content):
    (workdir / "config.json").write_text(content)
    with pytest.raises(UserError, match="holds config.json, which rexjax did not make"):
        claim(workdir, {"a": 1}, update=True)
    with pytest.raises(UserError, match="is no workdir: it has no config.json of rexjax"):
        workdirs.read_config(workdir)
    assert (workdir / "config.json").read_text() == content


def test_a_check_makes_nothing(tmp_path):
    assert workdirs.check(tmp_path / "a" / "b", STAGES, {"a": 1}, update=False) == []
    assert not (tmp_path / "a").exists()
