import contextlib

import pytest
from rich.console import Console

from rexjax.cli import main as cli


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("rexjax run", "rexjax teacher", "rexjax recommend", "configs/quickstart.py")),
        (("--help",), ("rexjax run", "rexjax teacher", "rexjax recommend", "configs/quickstart.py")),
        (("run", "--help"), ("--student.width", "what serving pays for", "--data.no-strict", "--update", "All stages")),
        (("teacher", "--help"), ("--teacher.heads", "Attention heads", "Train the large sequential transformer")),
        (("recommend", "--help"), ("--history", "oldest first", "--k")),
        (("items", "--help"), ("--put", "--remove", "one a line", "without training")),
        (("export", "--help"), ("--compare", "stands alone")),
        (("serve", "--help"), ("--keys", "--store", "SQLite")),
    ],
)
def test_help_explains_the_options(capsys, monkeypatch, arguments, words):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(cli, "out", Console(width=300))
    with contextlib.suppress(SystemExit):  # of tyro, with code 0
        cli.main(arguments)
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert [word for word in words if word not in text] == []
