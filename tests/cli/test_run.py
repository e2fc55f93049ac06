import os
import shutil
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


EPOCHS = "--teacher.training.epochs", "2"
ODD = {
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "LC_ALL": "C",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUTF8": "0",
    "PYTHONWARNINGS": "error",
}
"""An environment with all that may change a program, and without HOME."""


def profiled(config, *flags, python=(), environment=os.environ):
    """What the training of two epochs says; in a process of its own, see tests/training/test_profile.py."""
    command = [sys.executable, *python, "-m", "rexjax.cli", "teacher", config, "--profile", *EPOCHS, *flags]
    found = environment | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, env=found).stdout


@pytest.fixture(scope="module")
def said(config):
    return profiled(config, "--update")


def test_no_environment_changes_what_a_stage_makes(config, said):
    workdir = config.parent / "workdir"
    shutil.copytree(workdir, workdir.parent / "odd", ignore=shutil.ignore_patterns("teacher", "profile"))
    same = "PATH", "JAX_PLATFORMS", "XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS"
    kept = {name: os.environ[name] for name in same if name in os.environ}
    profiled(config, "--workdir", str(workdir.parent / "odd"), python=["-O"], environment=kept | ODD)
    assert store.read(workdir.parent / "odd" / "teacher").hash == store.read(workdir / "teacher").hash


def test_a_profile_of_a_training_changes_nothing_else(config, said):
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
