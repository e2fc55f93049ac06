"""Environments that users have: the command line ends well in them, and results do not depend on them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rexjax.artifacts import store

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
"""Without HOME, too."""
KEPT = ("PATH", "JAX_PLATFORMS", "XLA_FLAGS")


def command(*arguments, optimised=False):
    return [sys.executable, *["-O"] * optimised, "-m", "rexjax.cli", *map(str, arguments)]


def environment(**more):
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2])} | more


def test_no_environment_changes_what_a_stage_makes(finished, copy):
    config, workdir = copy
    shutil.rmtree(workdir / "teacher")
    done = subprocess.run(
        command("teacher", config, "--workdir", workdir, optimised=True),
        env=environment(**ODD),
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert store.read(workdir / "teacher").hash == store.read(finished[1] / "teacher").hash


@pytest.mark.parametrize("arguments", [["--version"], ["keys"], ["run", "--help"], ["recommend", "--help"]])
def test_a_pipe_that_nobody_reads_ends_a_command_quietly(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(*arguments), env=environment(), stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120
    )
    os.close(writer)
    assert done.stderr == "" and done.returncode == 141
