import os
import shutil

import numpy as np
import pytest
from rich.console import Console

from rexjax.cli import terminal
from tests.cli.runs import CONFIG, main


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(terminal, "out", Console(width=300))
    monkeypatch.setattr(terminal, "err", Console(width=300, stderr=True))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Config and workdir of one whole run; tests must leave them as they are."""
    folder = tmp_path_factory.mktemp("cli")
    os.environ.setdefault("XDG_CACHE_HOME", str(folder / "cache"))
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32))
    config, workdir = folder / "tiny.py", folder / "workdir"
    config.write_text(CONFIG.format(workdir=str(workdir), vectors=str(folder / "vectors.npy")))
    assert main("run", config) == 0
    return config, workdir


@pytest.fixture
def copy(finished, tmp_path):
    """The same, to be damaged."""
    shutil.copytree(finished[1], tmp_path / "copy")
    return finished[0], tmp_path / "copy"
