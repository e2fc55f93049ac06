import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rexjax.artifacts import store
from rexjax.pipeline import runner
from rexjax.runtime import processes
from tests.cli.runs import CONFIG, main


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A config whose data and text are ready."""
    folder = tmp_path_factory.mktemp("profile")
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32))
    path = folder / "tiny.py"
    path.write_text(CONFIG.format(workdir=str(folder / "workdir"), vectors=str(folder / "vectors.npy")))
    assert main("prepare", path) == main("encode", path) == 0
    return path


def profiled(config, *flags):
    """What it says; in a process of its own, see tests/training/test_profile.py."""
    command = [
        sys.executable,
        "-m",
        "rexjax.cli",
        "teacher",
        config,
        "--profile",
        "--teacher.training.epochs",
        "2",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*command, *flags], check=True, capture_output=True, text=True, timeout=300, env=environment
    ).stdout


def test_a_profile_of_a_training_changes_nothing_else(config):
    said = profiled(config, "--update")
    workdir = config.parent / "workdir"
    text = (workdir / "profile" / "teacher.txt").read_text()
    assert text.startswith("teacher: ") and "operation" in text
    assert text.splitlines()[2] in said and f"trace for XProf: {workdir / 'profile' / 'teacher'}" in said
    assert list((workdir / "profile" / "teacher").rglob("*.xplane.pb"))
    manifest = store.find(workdir / "teacher").manifest
    training = manifest["metrics"]["training"]["teacher"]
    assert 0 < training["goodput"] < 1
    assert all(0 < point["goodput"] < 1 for point in training["curve"])

    said = profiled(config)  # the flag is none of the config
    assert "teacher: unchanged, skipped" in said and "no profile: nothing was trained" in said


def test_only_the_first_process_says_what_is_done(config, monkeypatch, capsys):
    monkeypatch.setattr(processes, "first", lambda: False)
    assert main("prepare", config, "--update") == main("encode", config, "--update") == 0
    assert capsys.readouterr() == ("", "")


def test_an_error_nobody_foresaw_ends_a_process_among_several_without_a_wait(config, monkeypatch, capsys):
    codes = []

    def fail(*arguments, **keywords):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(runner, "run", fail)
    with pytest.raises(ZeroDivisionError):
        main("prepare", config)
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "end", codes.append)
    assert main("prepare", config) == 1  # end has not ended this one
    assert codes == [1] and "ZeroDivisionError: by nothing" in capsys.readouterr().err
