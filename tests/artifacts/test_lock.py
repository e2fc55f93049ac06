import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from rexjax.artifacts import lock
from rexjax.errors import UserError

DIES = "import os, sys, pathlib; from rexjax import lock; lock._take(pathlib.Path(sys.argv[1])); os._exit(1)"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "SILENCE", 0.6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "workdir" / lock.NAME


def test_a_second_run_is_told_who_holds_the_workdir_and_for_how_long(path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/rexjax", "run", "my config.py"])
    with lock.of(path.parent):
        words = (
            rf"workdir is in use by \"rexjax run 'my config.py'\" \(process {os.getpid()} on {socket.gethostname()}, "
        )
        with pytest.raises(UserError, match=words + r"for 0:00:0\d now\): wait for it, stop it, or choose another"):
            lock._take(path)
    assert not path.exists()
    lock._take(path)()


def test_a_run_may_ask_again_for_what_it_holds(path):
    with lock.of(path.parent):
        with lock.of(path.parent):
            assert path.exists()
        assert path.exists()


def test_what_a_dead_process_left_is_taken_over(path):
    assert subprocess.run(
        [sys.executable, "-c", DIES, path], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert json.loads(path.read_text())["pid"] != os.getpid()
    with lock.of(path.parent):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("alive", [True, False])
def test_the_owner_on_another_host_holds_it_while_it_lives(path, alive):
    path.parent.mkdir()
    path.write_text(
        json.dumps({"host": "elsewhere", "pid": 1, "command": "rexjax run x.py", "since": time.time() - 90})
    )
    ended = threading.Event()

    def touch():
        while not ended.wait(0.05):
            os.utime(path)

    thread = threading.Thread(target=touch if alive else lambda: None)
    thread.start()
    try:
        if alive:
            with pytest.raises(UserError, match="process 1 on elsewhere, for 0:01:3"):
                lock._take(path)
        else:
            lock._take(path)()
    finally:
        ended.set()
        thread.join()


def test_the_owner_shows_that_it_lives(path):
    with lock.of(path.parent):
        before = path.stat().st_mtime_ns
        time.sleep(0.3)
        assert path.stat().st_mtime_ns > before
