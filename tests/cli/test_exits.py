import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rexjax.cli import exits
from rexjax.cli import main as cli
from rexjax.config import schema
from rexjax.errors import UserError
from rexjax.runtime.preemption import Preempted


def caused(by):
    error = RuntimeError("a thread failed")
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    "error, code, words",
    [
        (UserError("do this"), 2, "do this"),
        (Preempted(), 75, "goes on where it was"),
        (KeyboardInterrupt(), 130, "goes on where it was"),
        (OSError(errno.ENOSPC, "No space left on device", "x.npy"), 2, "disk is full .*x.npy.*: make room"),
        (OSError(errno.EDQUOT, "quota"), 2, "disk is full"),
        (ValueError("RESOURCE_EXHAUSTED: No space left on device\nmore"), 2, "disk is full"),
        (caused(OSError(errno.ENOSPC, "No space left on device")), 2, "disk is full"),
    ],
)
def test_what_ended_a_command_has_a_code_and_one_sentence(error, code, words):
    found, sentence = exits.of(error)
    assert found == code and "\n" not in sentence
    assert re.search(words, sentence)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(errno.EIO, "I/O"), ValueError("x"), SystemExit(1)])
def test_what_nobody_foresaw_shows_its_traceback(error):
    assert exits.of(error) is None


def test_a_command_that_is_asked_to_stop_exits_with_75(monkeypatch, capsys):
    monkeypatch.setattr(schema, "load", lambda path: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "x.py"])
    assert stop.value.code == 75
    assert capsys.readouterr().err.startswith("rexjax: stopped as asked")


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--help"]])
def test_a_pipe_that_nobody_reads_ends_a_command_quietly(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "rexjax.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, timeout=120)
    finally:
        os.close(writer)
    assert done.stderr == b"" and done.returncode == 141
