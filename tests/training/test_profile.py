import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from rexjax.training import profile
from rexjax.training.profile import Steps

ROOT = str(Path(__file__).parents[2])


def op(thread: int, start: float, duration: float, name: str, **more) -> dict:
    return {"ph": "X", "pid": 1, "tid": thread, "ts": start, "dur": duration, "name": name, **more}


def on_cpu(*arguments) -> dict:
    return op(*arguments, args={"hlo_op": arguments[-1]})


NESTED = [
    on_cpu(1, 0, 110, "while.5"),
    on_cpu(1, 10, 30, "dot.1"),
    on_cpu(1, 40, 40, "fusion.2"),
    on_cpu(1, 50, 10, "call.7.clone"),
    on_cpu(2, 120, 60, "dot.2"),
    on_cpu(1, 200, 10, "dot"),
    op(1, 0, 500, "$python.py:1 frame"),
    {"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": "tf_XLAPjRtCpuClient/1"}},
]
ON_TPU = [
    {"ph": "M", "pid": 1, "tid": 3, "name": "thread_name", "args": {"name": "XLA Ops"}},
    {"ph": "M", "pid": 1, "tid": 4, "name": "thread_name", "args": {"name": "XLA Modules"}},
    op(3, 0, 1000, "all-to-all.3"),
    op(3, 1000, 3000, "fusion.1"),
    op(4, 0, 4000, "jit_run"),
]


@pytest.mark.parametrize(
    "events, lines",
    [
        (
            NESTED,
            [
                "0.2 ms, operations of all devices 0.2 ms",
                " share         ms    calls  operation",
                " 55.6%       0.10        3  dot",
                " 22.2%       0.04        1  while",
                " 16.7%       0.03        1  fusion",
                "  5.6%       0.01        1  call",
            ],
        ),
        (
            ON_TPU,
            [
                "4.0 ms, operations of all devices 4.0 ms",
                " share         ms    calls  operation",
                " 75.0%       3.00        1  fusion",
                " 25.0%       1.00        1  all-to-all",
            ],
        ),
        ([], ["no operation of a device is in the trace"]),
    ],
)
def test_the_summary_adds_up_each_operations_own_time(events, lines):
    assert profile.summary({"traceEvents": events}).splitlines() == lines


def test_only_the_largest_kinds_are_named():
    events = [on_cpu(1, 100 * i, i, f"op{chr(97 + i)}.{i}") for i in range(1, 21)]
    lines = profile.summary({"traceEvents": events}).splitlines()
    assert len(lines) == 2 + profile.SHOWN + 1
    assert lines[2].endswith("opu") and lines[-1].split() == ["7.1%", "0.01", "5", "5", "others"]


@jax.jit
def run(x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    x = jax.lax.fori_loop(0, 4, lambda i, x: jnp.tanh(x @ x), x)
    return x, {"loss": x.sum()}


def train(folder: Path) -> None:
    """Four stretches, of which the second is traced."""
    with profile.into(folder) as made:
        steps, x = Steps(run, "teacher 1"), jnp.ones((200, 200))
        for number in range(4):
            assert made == ([folder / "teacher 1.txt"] if number > 1 else [])
            x, metrics = steps(x)
            assert steps.fetch(metrics)["loss"] == x.sum()


def test_the_second_stretch_is_traced(tmp_path):
    # in a process of its own: where libtpu has compiled for a TPU that is not there, JAX's profiler crashes
    subprocess.run([sys.executable, __file__, tmp_path], check=True, timeout=120, env=os.environ | {"PYTHONPATH": ROOT})
    first, header, *table = (tmp_path / "teacher 1.txt").read_text().splitlines()
    assert first.startswith("teacher 1: ") and header.split() == ["share", "ms", "calls", "operation"]
    shares = [float(line.split()[0].rstrip("%")) for line in table]
    assert sum(shares) == pytest.approx(100, abs=1) and shares == sorted(shares, reverse=True)
    assert len(list((tmp_path / "teacher 1").rglob("*.xplane.pb"))) == 1


@pytest.mark.parametrize("wanted, first", [(False, True), (True, False)])
def test_without_the_flag_and_on_other_processes_nothing_is_traced(tmp_path, monkeypatch, wanted, first):
    monkeypatch.setattr(profile.processes, "first", lambda: first)
    with profile.into(tmp_path if wanted else None) as made:
        steps, x = Steps(run, "teacher"), jnp.ones((20, 20))
        for _ in range(3):
            steps.fetch(steps(x)[1])
    assert made == [] and list(tmp_path.iterdir()) == []


def test_goodput_is_the_share_of_time_in_steps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def work(seconds: float):
        now[0] += seconds
        return seconds, {}

    steps = Steps(work, "teacher")
    for compiling, seconds, between in ((30, 10, 0), (0, 20, 5), (0, 20, 15)):
        steps(compiling)
        now[0] += seconds
        steps.fetch({})
        now[0] += between
    assert steps.goodput() == 0.5


if __name__ == "__main__":
    train(Path(sys.argv[1]))
