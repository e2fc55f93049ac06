import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rexjax.encoders import shards
from rexjax.encoders.shards import Shard

WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from rexjax.encoders import shards
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
todo = [shards.Shard(folder / f"shard-{n:05d}.npy", f"key {n}") for n in range(12)]
for n in shards.to_do(todo):
    print(n, flush=True)
    time.sleep(seconds)
    shards.write(todo[n], np.full((3, 2), n, np.float32))
"""


def all_of(folder, count=12):
    return [Shard(folder / f"shard-{n:05d}.npy", f"key {n}") for n in range(count)]


def start(folder, seconds):
    command = [sys.executable, "-c", WORKER, str(folder), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def ended(worker):
    said, _ = worker.communicate(timeout=120)
    assert worker.returncode == 0
    return [int(line) for line in said.split()]


def assert_whole(folder):
    for n, shard in enumerate(all_of(folder)):
        np.testing.assert_array_equal(shards.read(shard), np.full((3, 2), n))
    assert {path.suffix for path in folder.iterdir()} == {".npy", ".json"}


def test_workers_share_the_shards_and_each_is_made_once(tmp_path):
    made = [ended(worker) for worker in [start(tmp_path, 0.3) for _ in range(3)]]
    assert sorted(itertools.chain(*made)) == list(range(12))
    assert_whole(tmp_path)


def test_what_a_killed_worker_had_claimed_is_made_by_another(tmp_path):
    killed, other = start(tmp_path, 60), None
    try:
        assert killed.stdout.readline() == "0\n"
        other = start(tmp_path, 0.01)
        while not all((tmp_path / f"shard-{n:05d}.json").exists() for n in range(1, 12)):
            time.sleep(0.05)
        assert not (tmp_path / "shard-00000.json").exists()  # its owner lives, so it is waited for
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
    assert sorted(ended(other)) == list(range(12))
    assert_whole(tmp_path)


def test_a_claim_put_down_right_after_a_look_stays(tmp_path, monkeypatch):
    path = tmp_path / "shard-00000.claim"
    look = Path.stat

    def stat(self, **kwargs):
        try:
            return look(self, **kwargs)
        except FileNotFoundError:
            path.write_text("of another")
            raise

    monkeypatch.setattr(Path, "stat", stat)
    assert not shards.claim_shard(path)
    assert path.read_text() == "of another"


@pytest.mark.parametrize(
    ("claim", "age", "taken"),
    [
        (f'{{"host": "{socket.gethostname()}", "process": {os.getppid()}}}', 0, False),
        (f'{{"host": "{socket.gethostname()}", "process": {os.getpid()}}}', 0, True),  # an earlier run's
        (f'{{"host": "{socket.gethostname()}", "process": {2**22 + 1}}}', 0, True),  # beyond the last process id
        ('{"host": "another", "process": 1}', 0, False),
        ('{"host": "another", "process": 1}', shards.STALE_AFTER + 1, True),
        ("", 0, False),
        ('{"host', 10, True),
    ],
    ids=["parent", "own", "nobody", "other host", "other host, old", "not written yet", "cut off"],
)  # fmt: skip
def test_a_claim_counts_while_its_owner_lives_or_may_live(tmp_path, claim, age, taken):
    path = all_of(tmp_path)[0].path.with_suffix(".claim")
    path.write_text(claim)
    os.utime(path, (time.time() - age,) * 2)
    assert next(shards.to_do(all_of(tmp_path))) == (0 if taken else 1)


def test_two_workers_that_write_the_same_shard_leave_one_that_is_whole(tmp_path):
    shard = all_of(tmp_path)[0]
    shards.write(shard, np.zeros((2, 2), np.float32))
    before = shard.path.with_suffix(".json").read_text()
    shards.write(shard, np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(shards.read(shard), 1)
    shard.path.with_suffix(".json").write_text(before)  # array of the one, note of the other
    assert shards.read(shard) is None
