import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from rexjax.cli import main as cli
from rexjax.cli import terminal
from tests.cli.runs import main, refused

COMMANDS = [*cli.COMMANDS, *cli.stage_commands()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("rexjax run", "rexjax teacher", "rexjax recommend", "configs/quickstart.py", "rexjax keys")),
        (("--help",), ("rexjax run", "rexjax teacher", "rexjax recommend", "configs/quickstart.py")),
        (("run", "--help"), ("--update", "--profile", "All stages", "`rexjax keys` lists them")),
        (("run", "x.py", "--student.width", "3", "--help"), ("--update",)),
        (("encode", "--help"), ("--worker", "other workers")),
        (("compress", "--help"), ("--budget", "bytes_per_item=32")),
        (("teacher", "--help"), ("--update", cli.stage_commands()["teacher"].what)),
        (("recommend", "--help"), ("--history", "oldest first", "--k", "--users", "--exclude", "--out")),
        (("items", "--help"), ("--put", "--remove", "one a line", "without training")),
        (("export", "--help"), ("--compare", "stands alone")),
        (("serve", "--help"), ("--keys", "--store", "SQLite")),
    ],
)
def test_help_explains_the_options(capsys, monkeypatch, arguments, words):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(terminal, "out", Console(width=300))
    assert main(*arguments) in (0, None)
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_fits_a_screen(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(command, "--help") in (0, None)
    text = capsys.readouterr().out
    assert 5 < len(text.splitlines()) <= 80
    assert "--student.model.width" in text or command not in {*cli.stage_commands(), "run", "sweep", "plan"}


def test_the_overview_fits_a_screen(capsys):
    assert main("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 120
    assert all(any(line.startswith(f"  rexjax {command} ") for line in lines) for command in COMMANDS)


def test_the_version_is_that_of_the_distribution(capsys):
    assert main("--version") == 0
    assert capsys.readouterr().out == f"rexjax {metadata.version('rexjax')}\n"


def test_keys_lists_type_default_and_help(capsys):
    assert main("keys", "student.top") == 0
    assert capsys.readouterr().out == "--student.top-k INT (default: 50)\n    Items in each of the teacher's lists.\n"
    assert main("keys") == 0
    text = capsys.readouterr().out
    assert "--data.strict, --data.no-strict (default: True)\n" in text and "--evaluate.k [INT ...]" in text
    assert "did" not in refused(capsys, "keys", "nothing-like-it")
    assert "teacher.members.3.training.epochs" in refused(capsys, "keys", "teacher.epochs")


def test_keys_of_a_config_file_are_those_of_its_classes(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom rexjax.config import *\n\n\n@dataclass(frozen=True)\n"
        'class Mine(Popularity):\n    """Mine."""\n\n    strength: float = 0.5\n    """How strong."""\n\n\n'
        "def get_config():\n    return Config(workdir='w', teacher=Mine(strength=0.75))\n"
    )
    assert main("keys", "teacher", "--config", path) == 0
    assert capsys.readouterr().out == "--teacher.strength FLOAT (default: 0.75)\n    How strong.\n"


@pytest.mark.parametrize("arguments", [("run", "--help"), ("keys", "seed"), ("run", "nowhere.py")])
def test_libtpu_says_nothing_where_no_tpu_is(arguments):
    environment = {name: value for name, value in os.environ.items() if name not in ("JAX_PLATFORMS", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-m", "rexjax.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    lines = done.stderr.splitlines()
    assert all(line.startswith("rexjax: no config file") for line in lines) and len(lines) == done.returncode // 2
