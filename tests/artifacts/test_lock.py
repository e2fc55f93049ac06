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

OWNER = """
import os, pathlib, sys
from rexjax.artifacts import lock
folder, leave = sys.argv[1:]
sys.argv = ["/bin/rexjax", "run", "my config.py"]
with lock.of(pathlib.Path(folder)):
    if leave == "dies":
        os._exit(1)
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


def own(folder, leave):
    """Another process that takes the lock; it dies with it, or holds it until its input ends."""
    command = [sys.executable, "-c", OWNER, str(folder), leave]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "SILENCE", 0.6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "workdir" / lock.NAME


def test_a_second_run_is_told_who_holds_the_workdir_and_for_how_long(path):
    with own(path.parent, "waits") as owner:
        process = int(owner.stdout.readline())
        words = rf"workdir is in use by \"rexjax run 'my config.py'\" \(process {process} on {socket.gethostname()}, "
        words += r"for 0:00:0\d now\): wait for it, stop it, or choose another"
        with pytest.raises(UserError, match=words), lock.of(path.parent):
            pass
        owner.communicate()
    assert owner.returncode == 0 and not path.exists()
    with lock.of(path.parent):
        assert path.exists()


def test_a_run_may_ask_again_for_what_it_holds(path):
    with lock.of(path.parent):
        with lock.of(path.parent):
            assert path.exists()
        assert path.exists()


def test_what_a_dead_process_left_is_taken_over(path):
    with own(path.parent, "dies") as owner:
        owner.communicate()
    assert owner.returncode == 1
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
            with pytest.raises(UserError, match="process 1 on elsewhere, for 0:01:3"), lock.of(path.parent):
                pass
        else:
            with lock.of(path.parent):
                assert json.loads(path.read_text())["pid"] == os.getpid()
    finally:
        ended.set()
        thread.join()


def test_the_owner_shows_that_it_lives(path):
    with lock.of(path.parent):
        before = path.stat().st_mtime_ns
        time.sleep(0.3)
        assert path.stat().st_mtime_ns > before
