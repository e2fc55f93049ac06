"""Runs of the command line as processes of this machine, to be killed: where they are, and how many steps they made."""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

CONFIG = """
from rexjax.config import Compress, Config, Data, Encode, Evaluate, Pooled, Shop, Student, Training, Transformer

def get_config():
    few = Training(epochs=4, batch=8, warmup=5, validate_users=200, patience=9)
    return Config(
        workdir="nowhere",
        data=Data(
            source=Shop(users=300, items=60, interactions=4000),
            length=16,
            strict=False,
            min_item_events=1,
            catalogue="log",
        ),
        encode=Encode(width=8),
        teacher=Transformer(width=16, layers=1, training=few),
        student=Student(model=Pooled(width=8, profiles=2, hidden=8, training=few), top_k=10),
        compress=Compress(
            variants=("int8", "w4_int8", "int4"), training=Training(epochs=2, batch=8, warmup=100, validate_every=2)
        ),
        evaluate=Evaluate(resamples=200, latency_repeats=20),
        save_every=1,
    )
"""
"""Four epochs of two stretches of steps each, all of which are saved."""

PATIENCE = 600.0
"""Seconds that a run may take on a busy machine."""


class Layout(NamedTuple):
    """How many processes, and how many emulated devices each has."""

    processes: int
    devices: int


class Run:
    """One command, as one or several processes that work together; what they say goes to ``folder``."""

    def __init__(self, folder: Path, layout: Layout, *arguments: str):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._before = self.stretches()
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "PYTHONUNBUFFERED": "1",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={layout.devices}",
            "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "programs"),
        }
        if layout.processes > 1:
            environment |= {
                "REXJAX_COORDINATOR": f"127.0.0.1:{_free_port()}",
                "REXJAX_PROCESSES": str(layout.processes),
            }
        self.processes = []
        for i in range(layout.processes):
            own = environment | ({"REXJAX_PROCESS_ID": str(i)} if layout.processes > 1 else {})
            command = [sys.executable, "-m", "benchmarks.local_runs", str(folder / f"steps{i}"), *arguments]
            with (folder / f"said{i}").open("w") as said:
                self.processes.append(subprocess.Popen(command, env=own, stdout=said, stderr=subprocess.STDOUT))

    def stretches(self) -> int:
        """How many stretches of steps the first process has begun, in this run and in those before it."""
        return len(steps(self.folder, 0))

    def reaches(self, stretches: int) -> bool:
        """Waits until this run has begun so many stretches; False if it ends before."""
        while self.stretches() - self._before < stretches:
            if any(process.poll() is not None for process in self.processes):
                return False
            time.sleep(0.02)
        return True

    def wait(self, grace: float = PATIENCE) -> list[int]:
        """The exit codes; whoever is left ``grace`` seconds after the first end is killed, as a launcher would."""
        until = time.monotonic() + PATIENCE
        while all(process.poll() is None for process in self.processes) and time.monotonic() < until:
            time.sleep(0.05)
        until = min(until, time.monotonic() + grace)
        for process in self.processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        return [process.wait() for process in self.processes]

    def strike(self, number: signal.Signals, rng: random.Random) -> None:
        """Sends a signal to one of the processes."""
        victim = rng.choice(self.processes)
        if victim.poll() is None:
            victim.send_signal(number)

    def said(self) -> str:
        """All lines of all processes."""
        return "".join((self.folder / f"said{i}").read_text() for i in range(len(self.processes)))


def steps(folder: Path, process: int) -> list[int]:
    """Steps of each stretch that a process has begun in the workdir of ``folder``."""
    path = folder / f"steps{process}"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def finish(folder: Path, layout: Layout, *arguments: str) -> Run:
    """A run to its end.

    Raises:
        RuntimeError: a process failed; what it said.
    """
    run = Run(folder, layout, *arguments)
    if any(codes := run.wait()):
        raise RuntimeError(f"{arguments} ended with {codes}: {run.said()[-3000:]}")
    return run


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main() -> None:
    """``rexjax ARGUMENTS``, with the number of steps of each stretch noted in a file as it begins."""
    from rexjax.cli import main
    from rexjax.training import loop

    parser = argparse.ArgumentParser()
    parser.add_argument("notes", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    flags = parser.parse_args()
    make_run = loop.make_run

    def noting(step):
        run = make_run(step)

        def noted(state, batches, count, constants):
            with flags.notes.open("a") as file:
                file.write(f"{int(count)}\n")
            return run(state, batches, count, constants)

        return noted

    loop.make_run = noting
    main.main(flags.arguments)


if __name__ == "__main__":
    main()
