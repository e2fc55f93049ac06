"""The examples in the docstrings of public functions run, and each of these functions has one."""

import doctest
import inspect
from importlib import import_module
from types import ModuleType

import pytest

PACKAGES = ("compression", "embedding", "encoders", "evaluation", "losses", "rerank", "retrieval")
METHODS = {"rexjax.embedding.table": {"Table.on"}}
"""Methods that have an example as well."""


def public_functions() -> set[tuple[str, str]]:
    """(module, name) of each public function of the packages, and of the metrics."""
    metrics = import_module("rexjax.evaluation.metrics")
    found = {(metrics.__name__, name) for name, value in vars(metrics).items() if is_own(metrics, name, value)}
    for name in PACKAGES:
        package = import_module(f"rexjax.{name}")
        functions = filter(inspect.isfunction, map(inspect.unwrap, map(package.__getattr__, package.__all__)))
        found |= {(function.__module__, function.__qualname__) for function in functions}
    return found


def is_own(module: ModuleType, name: str, value: object) -> bool:
    return inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")


def examples() -> dict[str, set[str]]:
    """The names with an example, by module."""
    wanted = dict(METHODS)
    for module, name in public_functions():
        wanted[module] = wanted.get(module, set()) | {name}
    return wanted


EXAMPLES = examples()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_in_docstrings_run(name):
    module = import_module(name)
    with_examples = [found for found in doctest.DocTestFinder().find(module, name) if found.examples]
    without = EXAMPLES[name] - {found.name.removeprefix(f"{name}.") for found in with_examples}
    assert not without, f"{name}: these public functions have no example: {sorted(without)}"
    report: list[str] = []
    runner = doctest.DocTestRunner()
    for found in with_examples:
        runner.run(found, out=report.append)
    assert not runner.failures, "".join(report)
