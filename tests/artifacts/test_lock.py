import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from benchmarks import flat_bucket
from rexjax.artifacts import lease, lock, store, versions
from rexjax.errors import UserError

OWNER = """
import os, pathlib, sys
if sys.argv[3] == "bucket":
    from benchmarks import flat_bucket
    flat_bucket.install()
from rexjax.artifacts import lock
folder, leave = sys.argv[1:3]
lock.BEAT = 0.05
sys.argv = ["/bin/rexjax", "run", "my config.py"]
with lock.of(pathlib.Path(folder)):
    if leave == "dies":
        os._exit(1)
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


def own(folder, leave, disk="local"):
    """Another process that takes the lock; it dies with it, or holds it until its input ends."""
    command = [sys.executable, "-c", OWNER, str(folder), leave, disk]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "SILENCE", 0.6)


@pytest.fixture(params=["local", "bucket"])
def disk(request, monkeypatch):
    if request.param == "bucket":
        flat_bucket.install(monkeypatch.setattr)
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "workdir" / lock.NAME


def of_another_host(path, **about):
    path.parent.mkdir(exist_ok=True)
    owner = {"host": "elsewhere", "kernel": "another", "pid": 1, "command": "rexjax run x.py"}
    path.write_text(json.dumps({"made_by": "rexjax", "token": 7, "since": time.time() - 90} | owner | about))


def test_a_second_run_is_told_who_holds_the_workdir_and_for_how_long(path, disk):
    with own(path.parent, "waits", disk) as owner:
        process = int(owner.stdout.readline())
        words = rf"workdir is in use by \"rexjax run 'my config.py'\" \(process {process} on {socket.gethostname()}, "
        words += r"for 0:00:\d\d now\): wait for it, stop it, or choose another"
        with pytest.raises(UserError, match=words), lock.of(path.parent):
            pass
        owner.communicate()
    assert owner.returncode == 0
    with lock.of(path.parent) as held:
        assert held.alone and lease.read(path)["pid"] == os.getpid()


def test_a_run_may_ask_again_for_what_it_holds(path):
    with lock.of(path.parent) as first:
        with lock.of(path.parent) as second:
            assert first is second
        first.confirm()
    assert lease.read(path)["released"]


def test_what_a_dead_process_left_is_taken_over_at_once(path, disk):
    with own(path.parent, "dies", disk) as owner:
        owner.communicate()
    assert owner.returncode == 1
    left = lease.read(path)
    assert left["pid"] != os.getpid() and not left.get("released")
    with lock.of(path.parent) as held:
        assert held.token == left["token"] + 1 and held.alone
        assert lease.read(path)["pid"] == os.getpid()


@pytest.mark.parametrize("alive", [True, False])
def test_the_owner_on_another_host_holds_it_while_it_lives(path, disk, alive):
    of_another_host(path)
    ended = threading.Event()

    def beat():
        while not ended.wait(0.05):
            lease.write(path, lease.read(path))

    thread = threading.Thread(target=beat if alive else lambda: None)
    thread.start()
    try:
        if alive:
            with pytest.raises(UserError, match="process 1 on elsewhere, for 0:01:3"), lock.of(path.parent):
                pass
        else:
            with lock.of(path.parent) as held:
                assert held.token == 8 and not held.alone
                assert lease.read(path)["pid"] == os.getpid()
    finally:
        ended.set()
        thread.join()


def test_a_run_that_slept_through_its_lease_publishes_nothing_and_its_work_stays(path, disk):
    place = path.parent / "encode"
    with lock.of(path.parent) as held:
        work = versions.begin(place, "key", held)
        (work / "rows.npy").write_text("1")
        of_another_host(path, token=held.token + 1)
        with pytest.raises(UserError, match="was taken over by 'rexjax run x.py' .*: this run publishes nothing"):
            store.finish(work, "key", content={}, seconds=0, config={}, metrics={}, owner=held)
    assert lease.read(path)["host"] == "elsewhere"  # neither its beat nor its end has taken it back
    assert versions.unfinished(place) == work and (work / "rows.npy").exists()


def test_of_two_that_find_a_free_lease_the_one_with_the_smaller_token_gives_way(path):
    with lock.of(path.parent) as held:
        of_another_host(path, token=held.token - 1)  # a slow one overwrites what it saw free
        held.confirm()
        assert lease.read(path)["token"] == held.token


def test_who_died_as_it_took_the_lock_is_waited_for_and_passed_over(path):
    path.parent.mkdir()
    assert lease.claim(path, 1)
    with lock.of(path.parent) as held:
        assert held.token == 2
    assert [other.name for other in path.parent.iterdir()] == [lock.NAME]


ODD = {
    "a folder": lambda path, outside: path.mkdir(),
    "a pipe": lambda path, outside: os.mkfifo(path),
    "a link": lambda path, outside: path.symlink_to(outside),
    "a dead link": lambda path, outside: path.symlink_to("nowhere"),
    "a user's file": lambda path, outside: path.write_text("my keys"),
    "a user's JSON": lambda path, outside: path.write_text('{"token": 1}'),
    "an empty file": lambda path, outside: path.write_text(""),
    "bytes": lambda path, outside: path.write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_lock_of_ours_is_refused_and_left_alone(path, tmp_path, kind):
    outside = tmp_path / "outside.json"
    of_another_host(outside, released=True)
    path.parent.mkdir(exist_ok=True)
    ODD[kind](path, outside)
    before, kept = os.lstat(path), outside.read_text()
    with pytest.raises(UserError, match=r"lock.json .*: move it away, or choose another folder"), lock.of(path.parent):
        pass
    assert os.path.samestat(os.lstat(path), before) and outside.read_text() == kept
    assert list(path.parent.iterdir()) == [path]


def test_the_owner_shows_that_it_lives(path, disk):
    with lock.of(path.parent):
        before, until = lease.read(path)["beat"], time.monotonic() + 10
        while (now := lease.read(path)["beat"]) == before and time.monotonic() < until:
            pass
    assert now > before
