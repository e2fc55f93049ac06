"""Real processes of four devices each; one is stopped, killed, or unlike the others. All cases run at the same time."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

SCRIPT = Path(__file__).with_name("endless.py")
LIMIT = 6
"""Seconds of silence that are borne."""
PATIENCE = 20
"""Beyond it, on a machine that is busy."""


class Case(NamedTuple):
    what: str
    ready: str
    """What both say when it is time for the signal."""
    signal: int = 0
    victim: int = 0
    after: float = 0.0
    """Seconds between the two."""


CASES = {
    "stopped": Case("sum", "sum 2", signal.SIGSTOP, 1),
    "first stopped": Case("train", "epoch 3", signal.SIGSTOP, 0),
    "killed": Case("sum", "sum 2", signal.SIGKILL, 1),
    "first killed": Case("sum", "sum 2", signal.SIGKILL, 0),
    # silence would be noticed long before, if one that works alone were silent
    "first killed at work alone": Case("alone", "together", signal.SIGKILL, 0, after=2 * LIMIT),
    "differ": Case("differ", ""),
    "fail": Case("fail", ""),
    "slurm": Case("done", ""),
}


def free_port(*choice: int) -> int:
    for port in choice or (0,):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return listener.getsockname()[1]
    raise AssertionError("no port is free")


def variables(case: str, index: int, port: int) -> dict[str, str]:
    """Of the environment that tells a process where it stands."""
    if case != "slurm":
        return {"REXJAX_COORDINATOR": f"127.0.0.1:{port}", "REXJAX_PROCESSES": "2", "REXJAX_PROCESS_ID": str(index)}
    return {
        "SLURM_JOB_ID": str(port - 61440),  # JAX counts the port up from there
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
    }


class Pair:
    """Two processes of a case."""

    def __init__(self, name: str, folder: Path):
        self.case, self._outputs, self.running = CASES[name], [], []
        ports = random.sample(range(61440, 65536), 50) if name == "slurm" else ()
        port = free_port(*ports)
        for i in range(2):
            environment = os.environ | variables(name, i, port)
            environment |= {
                "PYTHONPATH": os.pathsep.join(sys.path),
                "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
                "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
                "REXJAX_PEER_SECONDS": str(LIMIT),
            }
            self._outputs.append(folder / f"{name}{i}")
            with self._outputs[-1].open("w") as output:
                command = [sys.executable, SCRIPT, self.case.what, folder / f"{name} work"]
                self.running.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
        self.signalled = 0.0
        self.codes: list[int | None] = [None, None]
        self.seconds = [0.0, 0.0]
        """From the signal to the end."""
        self._ready = 0.0

    def look(self) -> bool:
        """Sends the signal when it is time; whether there is something to wait for."""
        now = time.monotonic()
        if not self._ready and all(self.case.ready in said for said in self.said):
            self._ready = now
        if self.case.signal and self._ready and not self.signalled and now - self._ready >= self.case.after:
            self.running[self.case.victim].send_signal(self.case.signal)
            self.signalled = now
        for i, process in enumerate(self.running):
            if self.codes[i] is None and process.poll() is not None:
                self.codes[i], self.seconds[i] = process.returncode, now - self.signalled
        waited = [i for i in range(2) if not (self.case.signal and i == self.case.victim)]
        return any(self.codes[i] is None for i in waited)

    @property
    def said(self) -> list[str]:
        """By each, all in all."""
        return [path.read_text() for path in self._outputs]

    @property
    def sentences(self) -> list[str]:
        """What each said at last."""
        return [said.strip().splitlines()[-1] for said in self.said]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gone")
    found = {name: Pair(name, folder) for name in CASES}
    try:
        until = time.monotonic() + 150
        while sum(pair.look() for pair in found.values()) and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        for process in (process for pair in found.values() for process in pair.running):
            process.kill()
            process.wait()
    return found


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.signal])
def test_when_one_is_gone_the_other_says_so_and_can_be_started_again(pairs, name):
    pair, victim = pairs[name], CASES[name].victim
    other = 1 - victim
    assert pair.codes[other] == 75, pair.said[other][-3000:]
    assert pair.seconds[other] < LIMIT + PATIENCE
    assert pair.sentences[other].startswith(f"rexjax: process {victim} on {socket.gethostname()} ")
    assert pair.sentences[other].endswith("start all processes again, and the run goes on from its last checkpoint")
    assert "Traceback" not in pair.said[other] and "stack trace" not in pair.said[other]


def test_processes_that_differ_are_all_told(pairs):
    pair, host = pairs["differ"], socket.gethostname()
    words = f"rexjax: the processes differ: config.seed is 0 on process 0 on {host}, 1 on process 1 on {host}: start"
    assert pair.codes == [2, 2] and all(words in sentence for sentence in pair.sentences), pair.said


def test_when_one_fails_the_others_do_not_wait_for_it(pairs):
    pair = pairs["fail"]
    assert pair.codes == [2, 2], pair.said
    ended = f"process 1 on {socket.gethostname()} ended: no such file; process 0 ends with it"
    assert pair.sentences == [f"rexjax: {ended}", "rexjax: no such file"]


def test_slurm_says_who_works_together(pairs):
    assert pairs["slurm"].codes == [0, 0], pairs["slurm"].said
    assert all("together 2 8" in said for said in pairs["slurm"].said)
