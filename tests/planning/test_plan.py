import dataclasses
import importlib.util
import json
import sys

import pytest
from rich.console import Console

from rexjax.artifacts import store, versions
from rexjax.cli import main as cli
from rexjax.cli import terminal
from rexjax.config import Data, Files
from rexjax.errors import UserError
from rexjax.planning import plan
from rexjax.planning.topology import parse

CONFIG = """
from rexjax.config import *

def get_config():
    training = Training(batch=6)
    return Config(
        workdir="runs/never",
        data=Data(source=Shop(users=60, items=40, interactions=600), length=8),
        encode=Encode(vectors="vectors.npy", width=8),
        teacher=Transformer(width=8, layers=1, training=training),
        student=Student(model=Pooled(width=8, profiles=2, hidden=8, training=training), top_k=5),
        evaluate=Evaluate(k=(10,)),
    )
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "out", Console(width=200))
    monkeypatch.setattr(terminal, "err", Console(width=200, stderr=True))
    path = tmp_path / "tiny.py"
    path.write_text(CONFIG)
    return path


def main(*arguments):
    try:
        cli.main(["plan", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code
    return 0


def write_prepared(config, metrics):
    folder = versions.begin(plan.Path(config.workdir) / "prepare", "k")
    store.finish(folder, "k", content={}, seconds=0, config={}, metrics=metrics)


def test_sizes_come_from_the_flag_then_the_workdir_then_the_shop(tiny):
    assert plan.sizes(tiny, None) == {"items": 40, "users": 60, "interactions": 600}
    assert plan.sizes(tiny, 7)["items"] == 7
    write_prepared(tiny, {"items": 39, "users": 50, "interactions": 500, "density": 0.1})
    assert plan.sizes(tiny, None) == {"items": 39, "users": 50, "interactions": 500}


def test_sizes_that_nothing_says(tiny):
    files = dataclasses.replace(tiny, data=Data(source=Files()))
    assert plan.sizes(files, 9) == {"items": 9}
    with pytest.raises(UserError, match="pass --items N"):
        plan.sizes(files, None)
    with pytest.raises(UserError, match="--items 0"):
        plan.sizes(files, 0)


def test_a_missing_compiler_is_named(tiny, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "libtpu" else find(name))
    with pytest.raises(UserError, match=r"pip install 'rexjax\[plan\]'"):
        plan.make(tiny, parse("v5p:2x2x1"))


@pytest.mark.usefixtures("libtpu")
def test_a_compiler_that_dies_is_reported(tiny, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(UserError, match="the TPU compiler failed on v5p:2x2x1: it ended with code 1"):
        plan.make(tiny, parse("v5p:2x2x1"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "pass --topology"),
        (["--topology", "v9:2x2"], "v5p: 2x2x1"),
        (["--topology", "v5p:2x2x1", "--slices", "0"], "--slices 0"),
    ],
)
def test_mistakes_exit_2(config, capsys, arguments, said):
    assert main(config, *arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("libtpu")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--topology", "v5p:3x7x1"], "no TPU topology 'v5p:3x7x1'"),
        (["--topology", "v5p:2x2x1", "--mesh.model", "3"], "--mesh.model 3 does not divide the 4 devices"),
        (["--topology", "v5p:2x2x1", "--mesh.model", "4"], "--teacher.heads 2 must be divided by --mesh.model 4"),
    ],
)
def test_mistakes_that_only_libtpu_finds(config, capsys, arguments, said):
    assert main(config, *arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("libtpu")
def test_a_plan_that_fits(config, tmp_path, capfd):
    assert main(config, "--topology", "v5p:2x2x1", "--json", tmp_path / "plan.json") == 0
    said = capfd.readouterr()
    assert "fits on v5p:2x2x1" in said.out
    assert "teacher: the batch of 6 rows is rounded up to 8, a multiple of the 4 devices along data" in said.out
    assert said.err == ""
    made = json.loads((tmp_path / "plan.json").read_text())
    assert (made["topology"], made["devices"], made["items"], made["fits"]) == ("v5p:2x2x1", 4, 40, True)
    assert set(made["programs"]) == {"teacher", "distill", "retrieval"}
    for found in made["programs"].values():
        assert found["hbm_needed"] == sum(found["hbm_bytes"].values()) < found["hbm_limit"]
        assert found["flops"] > 0 and found["bytes_accessed"] > 0 and found["seconds"] > 0
        assert found["bound_by"] == max(found["terms"], key=found["terms"].get)
        assert all({"count", "bytes"} <= row.keys() for row in found["collectives"].values())
    teacher = made["programs"]["teacher"]
    assert teacher["steps_per_epoch"] == 8  # 60 users: at most one row each, 8 rows a step
    assert teacher["device_hours_per_epoch"] == pytest.approx(8 * teacher["seconds"] * 4 / 3600)


def test_a_plan_that_cannot_be_written_is_still_printed(config, tmp_path, capsys, monkeypatch):
    made = {"topology": "v5p:2x2x1", "slices": 1, "devices": 4, "mesh": {}, "items": 40, "fits": True, "programs": {}}
    path = tmp_path / "plan.json"
    monkeypatch.setattr(
        plan, "make", lambda *arguments: path.mkdir() or made
    )  # something else takes the name meanwhile
    assert main(config, "--topology", "v5p:2x2x1", "--json", path) == 2
    said = capsys.readouterr()
    assert "fits on v5p:2x2x1" in said.out and "cannot be written" in said.err


def test_a_plan_that_could_not_be_written_is_not_made(config, tmp_path, capsys):
    assert main(config, "--topology", "v5p:2x2x1", "--json", tmp_path) == 2
    said = capsys.readouterr()
    assert "is a folder: name a file in it" in said.err and not said.out


@pytest.mark.usefixtures("libtpu")
def test_a_plan_that_does_not_fit_names_where_it_would(config, tmp_path, capfd):
    arguments = ("--topology", "v5e:1x1", "--items", "300000000", "--json", tmp_path / "plan.json")
    assert main(config, *arguments) == 1
    said = capfd.readouterr().out
    made = json.loads((tmp_path / "plan.json").read_text())
    assert not made["fits"] and made["fits_on"].startswith("v5e:")
    assert f"does not fit on v5e:1x1; it fits on {made['fits_on']}" in said
    failing = [name for name, found in made["programs"].items() if not found["fits"]]
    assert failing
    for name in failing:
        found = made["programs"][name]
        assert found["hbm_needed"] > found["hbm_limit"]
        assert f"{name}: needs" in said and "too much" in said
