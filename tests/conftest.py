"""Eight emulated CPU devices, quick compilation and one cache of compiled programs: all before jax is imported."""

import atexit
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # two thirds of the tests' time was compilation
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # many tests build the same program again
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="rexjax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture
def optimized(monkeypatch):
    """Tests that look at compiled programs ask for this: XLA does all that it does for users."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")  # of processes that a test starts
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def libtpu():
    """Tests that compile for TPUs ask for this."""
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("needs the TPU compiler: pip install 'rexjax[plan]'")


SHARED = ("tests/cli/", "tests/pipeline/stages/", "tests/serving/")
"""Folders whose files share finished runs."""


class ByRun(LoadFileScheduling):
    """A worker takes a whole file, or a whole folder of those that share finished runs, which are made once then."""

    def _split_scope(self, nodeid):
        return next((folder for folder in SHARED if nodeid.startswith(folder)), super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config, log):
    return ByRun(config, log)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also the tests that slow.txt lists")


def pytest_collection_modifyitems(config, items):
    """Leaves out the tests of slow.txt, unless they are named on the command line or --slow asks for them."""
    if config.getoption("--slow") or any("::" in argument for argument in config.args):
        return
    lines = Path(__file__).with_name("slow.txt").read_text(encoding="utf-8").splitlines()
    slow = tuple(line for line in lines if not line.startswith("#"))
    kept, left_out = [], []
    for item in items:
        (left_out if item.nodeid.startswith(slow) else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)
