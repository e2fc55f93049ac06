"""Generated pages are those of the code and of the recorded figures."""

import json

import pytest

from docs.generators import __main__ as generators
from docs.generators import reference, results


def test_pages_of_results_are_those_of_the_files():
    made = {f"docs/{path}": text for path, text in results.pages().items()}
    assert generators.outdated(made) == [], "python -m docs.generators writes them"


def test_the_table_of_the_readme_is_that_of_the_file():
    assert results.readme_table() in generators.README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["config", "api", "http"])
def test_pages_of_the_reference_are_those_of_the_code(name):
    page = f"reference/{name}.md"
    assert generators.outdated({f"docs/{page}": reference.PAGES[name]()}) == [], "python -m docs.generators writes them"


def test_every_public_name_has_a_page():
    folder = results.ROOT / "docs/reference"
    said = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.md"))
    missing = [
        f"{package}.{name}"
        for package in ("rexjax", *(f"rexjax.{part}" for part in reference.PACKAGES))
        for name in reference.names(package)
        if f"::: {package}.{name}\n" not in said and name not in (*reference.PACKAGES, "metrics")
    ]
    assert missing == []


@pytest.mark.parametrize("missing", ["command", "commit"])
def test_figures_without_provenance_are_refused(tmp_path, missing):
    made = {"command": "python -m benchmarks.topk", "commit": "abc", "rows": [{"case": "a", "ours": 1}]}
    path = tmp_path / "topk.json"
    path.write_text(json.dumps({key: value for key, value in made.items() if key != missing}))
    with pytest.raises(results.Refused, match=f"topk.json has rows without a {missing}"):
        results.read(path)
    path.write_text(json.dumps(made))
    assert results.read(path)["rows"] == made["rows"]


def test_a_table_that_differs_from_its_file_is_found(tmp_path, monkeypatch):
    rows = [{"case": "N=8", "unit": "ms", "ours": 1.25, "command": "c", "commit": "d"}]
    for name in ("topk.json", "one_query.json"):
        (tmp_path / name).write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    title, about, tables = results.PAGES["top-k"]
    text = results.page(title, about, tables)
    assert "| N=8 | ms | 1.25 |" in text and "Command: `c`" in text
    assert generators.outdated({"docs/results/top-k.md": text}) == ["docs/results/top-k.md"]
