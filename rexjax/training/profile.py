"""Where a training's time goes: its goodput, and a trace of a few steps for XProf, with a summary in plain text."""

import contextlib
import gzip
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from rexjax.runtime import processes

SHOWN = 15
"""Kinds of operations in the summary."""


class _State:
    folder: Path | None = None
    made: list[Path] = []


_state = _State()


@contextlib.contextmanager
def into(folder: Path | None) -> Iterator[list[Path]]:
    """Within, each training leaves a trace of a few steps in ``folder``, and its summary in NAME.txt there, which is
    added to the list; None: none does."""
    _state.folder, _state.made = folder, []
    try:
        yield _state.made
    finally:
        _state.folder = None


class Steps:
    """A compiled stretch of steps that knows how long the devices were at work on it.

    Where a trace is wanted, the first process makes it, of the second stretch: the first one compiles.
    """

    def __init__(self, run: Callable[..., Any], name: str):
        self._run, self._name = run, name
        self._calls, self._seconds = 0, 0.0
        self._begun = self._started = time.monotonic()

    def __call__(self, *arguments: Any) -> Any:
        """Like ``run`` of ``training.stretch.make_run``."""
        self._calls += 1
        self._started = time.monotonic()
        if self._calls == 2 and _state.folder and processes.first():
            return _traced(lambda: self._run(*arguments), _state.folder, self._name)
        found = self._run(*arguments)
        if self._calls == 1:
            self._started = time.monotonic()  # it is compiled, and under way
        return found

    def fetch(self, metrics: dict[str, jax.Array]) -> dict[str, Any]:
        """The metrics of the last call on the host, when its steps are done."""
        found = jax.device_get(metrics)
        self._seconds += time.monotonic() - self._started
        return found

    def goodput(self) -> float:
        """Time in steps over all time since this was made: compilation, validation, saving, waiting for data."""
        return self._seconds / max(time.monotonic() - self._begun, 1e-9)


def _traced(run: Callable[[], Any], folder: Path, name: str) -> Any:
    raw = folder / name
    raw.mkdir(parents=True, exist_ok=True)
    before = set(raw.rglob("*.trace.json.gz"))
    with jax.profiler.trace(raw):
        found = jax.block_until_ready(run())
    (new,) = set(raw.rglob("*.trace.json.gz")) - before
    text = folder / f"{name}.txt"
    text.write_text(f"{name}: {summary(json.loads(gzip.decompress(new.read_bytes())))}")
    _state.made.append(text)
    return found


def summary(trace: dict[str, Any]) -> str:
    """Time by kind of operation, from a trace in Chrome's format (``*.trace.json.gz``), as a table in plain text.

    An operation's time is its own, without that of operations inside it; one device's times and another's are added.
    """
    threads = _operations(trace["traceEvents"])
    totals: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for operations in threads:
        for name, own in _own_times(operations):
            count, total = totals[_kind(name)]
            totals[_kind(name)] = count + 1, total + own
    if not totals:
        return "no operation of a device is in the trace\n"
    whole = sum(total for _, total in totals.values())
    ordered = sorted(totals.items(), key=lambda entry: -entry[1][1])
    spans = [event for operations in threads for event in operations]
    wall = max(e["ts"] + e["dur"] for e in spans) - min(e["ts"] for e in spans)
    lines = [
        f"{wall / 1e3:.1f} ms, operations of all devices {whole / 1e3:.1f} ms",
        f"{'share':>6} {'ms':>10} {'calls':>8}  operation",
        *(f"{total / whole:>6.1%} {total / 1e3:>10.2f} {count:>8}  {kind}" for kind, (count, total) in ordered[:SHOWN]),
    ]
    if rest := ordered[SHOWN:]:
        count, total = (sum(part) for part in zip(*(amounts for _, amounts in rest), strict=True))
        lines.append(f"{total / whole:>6.1%} {total / 1e3:>10.2f} {count:>8}  {len(rest)} others")
    return "\n".join(lines) + "\n"


def _operations(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The devices' operations, by thread: on CPU and GPU they name their HLO, on TPU they have a thread of theirs."""
    names = {(e["pid"], e.get("tid")): e["args"]["name"] for e in events if e.get("name") == "thread_name"}
    found = defaultdict(list)
    for event in events:
        thread = event.get("pid"), event.get("tid")
        if event.get("ph") == "X" and ("hlo_op" in event.get("args", {}) or names.get(thread) == "XLA Ops"):
            found[thread].append(event)
    return list(found.values())


def _own_times(operations: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    """Name and microseconds of each operation of a thread, less those of the operations that lie in it."""
    outer: list[list[Any]] = []  # of each that is open: name, end, own time
    for event in sorted(operations, key=lambda e: (e["ts"], -e["dur"])):
        while outer and outer[-1][1] <= event["ts"]:
            name, _, own = outer.pop()
            yield name, own
        if outer:
            outer[-1][2] -= event["dur"]
        outer.append([event["name"], event["ts"] + event["dur"], event["dur"]])
    yield from ((name, own) for name, _, own in outer)


def _kind(name: str) -> str:
    """The name without the number that tells it from others of its kind: ``fusion.12`` → ``fusion``."""
    return re.sub(r"(\.\d+|\.clone)+$", "", name)
