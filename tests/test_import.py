import ast
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from pkgutil import iter_modules

import pytest

import rexjax

PACKAGES = (
    "compression",
    "data",
    "distillation",
    "embedding",
    "encoders",
    "evaluation",
    "families",
    "losses",
    "models",
    "rerank",
    "retrieval",
    "training",
)
PUBLIC = ["rexjax", *(f"rexjax.{package}" for package in PACKAGES)]


@pytest.mark.parametrize("modules", ["rexjax", "rexjax.cli.main, rexjax.pipeline.runner"])
def test_importing_brings_in_no_other_framework(modules):
    code = f"import sys, {modules}; print(sorted({{'tensorflow', 'torch', 'tensorflow_datasets'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_package_costs_next_to_nothing_beyond_jax():
    code = f"""
import sys, time, jax
before, started = set(sys.modules), time.process_time()
import {", ".join(PUBLIC)}
print(time.process_time() - started)
print(*(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, loaded = done.stdout.splitlines()
    assert float(seconds) < 0.2
    assert {name for name in loaded.split() if name.startswith("rexjax")} == {*PUBLIC, "rexjax._lazy"}
    assert not {"flax", "grain", "ibis", "pyarrow", "rich", "tyro"} & set(loaded.split())


def declared(package: str) -> set[str]:
    """Public names of the imports that type checkers see."""
    (guard,) = (node for node in ast.parse(Path(import_module(package).__file__).read_text()).body if _is_guard(node))
    imports = [alias for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name or alias.asname.startswith("_") for alias in imports)  # else it is private
    assigned = {node.targets[0].id for node in guard.body if isinstance(node, ast.Assign)}
    return assigned | {alias.asname for alias in imports if alias.asname == alias.name}


def _is_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def seen_by_type_checkers(package: str) -> dict[str, object]:
    """The same names, imported."""
    (guard,) = (node for node in ast.parse(Path(import_module(package).__file__).read_text()).body if _is_guard(node))
    names: dict[str, object] = {}
    exec(compile(ast.Module(guard.body, []), package, "exec"), names)
    return names


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_those_that_type_checkers_see(package):
    module, real = import_module(package), seen_by_type_checkers(package)
    assert set(module.__all__) == set(dir(module)) == declared(package)
    for name in module.__all__:
        assert getattr(module, name) is real[name]


@pytest.mark.parametrize("package", PUBLIC[1:])
def test_no_public_name_hides_a_module(package):
    module = import_module(package)
    assert not set(module.__all__) & {found.name for found in iter_modules(module.__path__)}


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match="module 'rexjax.losses' has no attribute 'softmax'"):
        import_module("rexjax.losses").softmax  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'softmax'"):
        exec("from rexjax.losses import softmax")


def test_the_version_is_that_of_the_distribution_and_types_are_announced():
    assert rexjax.__version__ == version("rexjax")
    assert files("rexjax").joinpath("py.typed").is_file()
