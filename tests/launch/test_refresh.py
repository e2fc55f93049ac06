"""The nightly refresh: a script for cron and a CronJob, whose commands the real command line reads."""

import os
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from rexjax.cli import main
from tests.launch import schemas

LAUNCH = Path(__file__).parent.parent.parent / "launch"
CONFIG = "from rexjax.config import Config\n\n\ndef get_config():\n    return Config('runs/x')\n"


@pytest.fixture
def folder(tmp_path):
    """A config and a ``rexjax`` on PATH that notes what it is asked."""
    (tmp_path / "config.py").write_text(CONFIG)
    command = tmp_path / "bin/rexjax"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$NOTED"\n')
    command.chmod(0o755)
    return tmp_path


def asked(folder: Path, command: list[str]) -> list[str]:
    known = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "NOTED": str(folder / "noted")}
    subprocess.run(command, check=True, cwd=folder, env=os.environ | known, timeout=60)
    return (folder / "noted").read_text().splitlines()


def is_read(arguments: list[str], capsys) -> str:
    """What the real command line says of a registry that is not there, after it has read all flags."""
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_the_script_names_the_workdir_by_the_day(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    arguments = asked(folder, [str(LAUNCH / "refresh.sh"), "config.py", "registry", "runs", "--days", "2"])
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert arguments == [
        *("refresh", "config.py", "--registry", "registry", "--workdir", f"runs/{day}", "--days", "2"),
    ]
    assert "registry is no registry" in is_read(arguments, capsys).replace("\n", " ")


def test_the_script_says_how_it_is_used():
    done = subprocess.run([str(LAUNCH / "refresh.sh"), "config.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "CONFIG REGISTRY RUNS" in done.stderr


def test_the_cron_job_follows_the_schema_and_asks_for_the_same(folder, capsys, monkeypatch):
    manifest = yaml.safe_load((LAUNCH / "k8s/refresh.yaml").read_text())
    schemas.check(manifest)
    container = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    arguments = asked(folder, [*container["command"], *container["args"]])
    assert arguments[:4] == ["refresh", "/config/config.py", "--registry", "/data/registry"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {f"/{Path(path).parts[1]}" for path in arguments if path.startswith("/")} == mounts
    monkeypatch.chdir(folder)
    here = ["config.py" if argument.endswith("config.py") else argument for argument in arguments]
    assert "/data/registry is no registry" in is_read(here, capsys).replace("\n", " ")


def test_the_cron_line_has_five_times_and_a_command():
    line = re.search(r"A cron line:\s+(.*)", (LAUNCH / "refresh.sh").read_text())[1]
    times, command = line.split()[:5], shlex.split(line.split(maxsplit=5)[5])
    assert all(re.fullmatch(r"\*|\d+", time) for time in times) and "launch/refresh.sh" in command
