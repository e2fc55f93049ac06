"""The notebooks as they are committed: in step with their twins, run from top to bottom, small. CI runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

COLAB = Path(__file__).parent.parent / "colab"
TWINS = sorted(COLAB.glob("0*.py"))


@pytest.fixture(params=TWINS, ids=lambda twin: twin.stem)
def pair(request):
    """A twin's cells, and the notebook's."""
    notebook = nbformat.read(request.param.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(notebook)
    return jupytext.read(request.param).cells, notebook.cells


def test_every_notebook_has_a_twin():
    assert [twin.stem for twin in TWINS] == [notebook.stem for notebook in sorted(COLAB.glob("*.ipynb"))]
    assert len(TWINS) == 7


def test_a_notebook_says_what_its_twin_says(pair):
    twin, notebook = ([(cell.cell_type, cell.source) for cell in cells] for cells in pair)
    assert notebook == twin, "python colab/run.py NAME --keep writes the notebook of its twin"


def test_it_was_run_from_top_to_bottom(pair):
    code = [cell for cell in pair[1] if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)


def test_it_has_pictures_and_no_trace_of_where_it_ran(pair):
    outputs = [output for cell in pair[1] for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    said = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs]
    assert not [text for text in said if re.search(r"(^|[\s'\"(])/(home|root|tmp|work|usr|var|opt)/", text)]


def test_all_together_are_small():
    assert sum(notebook.stat().st_size for notebook in COLAB.glob("*.ipynb")) < 1_500_000


def test_the_first_cell_of_code_installs_only_where_it_must(pair):
    first = next(cell for cell in pair[0] if cell.cell_type == "code")
    assert 'if find_spec("rexjax") is None:' in first.source and "git+https://" in first.source


@pytest.mark.parametrize(
    "cell, said",
    [
        ("1 / 0", ["ZeroDivisionError", "1 / 0"]),
        ("import os\nos._exit(3)", ["Kernel died", "os._exit(3)"]),
    ],
)
def test_a_cell_that_fails_is_named(tmp_path, cell, said):
    twin = tmp_path / "00_short.py"
    twin.write_text(f"# %%\nopen('left', 'w').close()\n\n# %%\n{cell}\n")
    program = "import pathlib, run, sys; run.run(pathlib.Path(sys.argv[1]), sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", program, twin, tmp_path / "programs"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(COLAB)},
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("00_short.py fails") and all(words in done.stderr for words in said)
    assert [path.name for path in tmp_path.iterdir()] == ["00_short.py"]  # nothing is left
