"""What holds for every file: tests reach modules by their public names, and no module grows long."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TESTS = sorted(set((REPOSITORY / "tests").rglob("*.py")) - {Path(__file__)})  # this file holds examples as strings
MOST_LINES = 400


def imported_names(tree: ast.Module) -> Iterator[tuple[str, ast.stmt, str]]:
    """(local name, statement, imported name) of everything that a file imports from rexjax, functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rexjax":
            for alias in node.names:
                yield alias.asname or alias.name, node, alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "rexjax":
                    yield alias.asname or "rexjax", node, alias.name


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def root_of(node: ast.expr) -> str:
    """The name that a chain of attributes begins with, such as ``a`` of ``a.b.c``."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make", "_field_defaults"}


def private_uses(source: str) -> list[tuple[int, str]]:
    """(line, what) of each use of a private name of rexjax in a test's source.

    Seen are attributes of anything that was imported from rexjax, imports of private names, ``setattr``, ``getattr``
    and ``delattr`` (of ``monkeypatch`` too) with a private name, and all of these in programs that a test holds as a
    string.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    imports = list(imported_names(tree))
    uses = [(node.lineno, f"import of {name}") for _, node, name in imports if is_private(name.split(".")[-1])]
    names = {local for local, _, _ in imports}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in NAMED_TUPLE:
            if root_of(node) in names:
                uses.append((node.lineno, f"{root_of(node)} … .{node.attr}"))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("setattr", "getattr", "delattr"):
            texts = [argument.value for argument in node.args[:2] if isinstance(argument, ast.Constant)]
            uses += [
                (node.lineno, f"{ast.unparse(node.func)} of {text}")
                for text in texts
                if isinstance(text, str) and is_private(text.split(".")[-1])
            ]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "rexjax" in node.value:
            uses += [(node.lineno + line - 1, what) for line, what in private_uses(node.value)]
    return sorted(set(uses))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_test_touches_a_private_name(path):
    uses = private_uses(path.read_text(encoding="utf-8"))
    places = [f"{path.relative_to(REPOSITORY)}:{line} {what}" for line, what in uses]
    assert not places, "test it through a public function: " + ", ".join(places)


@pytest.mark.parametrize(
    "source, lines",
    [
        ("from rexjax.retrieval import topk\ntopk._sorted(1)", [2]),
        ("from rexjax.retrieval.topk import _sorted", [1]),
        ("import rexjax.retrieval.topk\nx = rexjax.retrieval.topk._sorted", [2]),
        ("from rexjax.data import shop as made\nmade.Shop._draw", [2]),
        ("def test(monkeypatch):\n    monkeypatch.setattr(topk, '_sorted', 1)", [2]),
        ("def test(monkeypatch):\n    monkeypatch.setattr('rexjax.retrieval.topk._sorted', 1)", [2]),
        ("RUN = 'from rexjax import lock; lock._take(1)'", [1]),
        ("from rexjax.retrieval import topk\ntopk.top_k(self._x)._replace(k=1)", []),
        ("from rexjax.retrieval import topk\ntopk.Passes._fields, topk.__name__", []),
        ("import jax\njax._src", []),
    ],
)
def test_private_uses_are_seen(source, lines):
    assert [line for line, _ in private_uses(source)] == lines


def test_no_module_has_more_than_400_lines():
    sizes = {
        str(path.relative_to(REPOSITORY)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted((REPOSITORY / "rexjax").rglob("*.py"))
    }
    assert sizes
    assert {path: size for path, size in sizes.items() if size > MOST_LINES} == {}
