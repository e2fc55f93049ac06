"""Delta exports: their bytes, and how soon a server under load answers by them and by the export before.

    pip install 'rexjax[serve]'
    python -m benchmarks.delta --json benchmarks/results/delta.json

100,000 items, a pooled student 64 wide in int8 rows (untrained: bytes and speed do not depend on what was learnt). The
next export differs in 1 % of the rows, a tenth of which are new items, in all counts of interactions, and in the
weights of the user's side. `rexjax serve` answers 50 requests a second over loopback (benchmarks/open_load.py) while
`rexjax delta apply` and `rexjax delta rollback` switch exports. Seconds are counted from when `bundle.json` is put in
place until the last answer by the export before. The server compiles and checks an export in a process of its own
first. What this took, as the server's log tells it, is a row of its own, and is subtracted in another one.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import open_load, record, serving

CHANGED, NEW = 0.01, 0.001
RATE = 50.0
PATIENCE = 180.0
"""Seconds after which an export that does not answer is a failure of the benchmark."""
PIECE = 5.0
"""Seconds that a process of the load lives."""
_SETTLED = 3.0


def make_exports(work: Path, items: int) -> dict[str, Path]:
    """An export, and the next ones: of changed rows alone, and of all that a night changes; folders by name."""
    params, popularity = serving.draw_parameters(0, items), np.arange(items, 0, -1)
    rng, new = np.random.default_rng(0), max(1, int(items * NEW))
    changed = rng.choice(items, max(1, int(items * (CHANGED - NEW))), replace=False)
    rows = np.array(params["rows"])
    rows[changed] = rng.normal(size=(len(changed), serving.WIDTH))
    grown = np.concatenate([rows, rng.normal(size=(new, serving.WIDTH)).astype(np.float32)])
    counts = np.concatenate([popularity + rng.poisson(0.5, items), np.ones(new, np.int64)])
    heads = {name: leaf for name, leaf in serving.draw_parameters(1, 1).items() if name != "rows"}
    night = params | heads | {"rows": grown}
    cases = {"old": (params, popularity), "rows": (params | {"rows": rows}, popularity), "night": (night, counts)}
    for name, (these, of_items) in cases.items():
        (work / name).mkdir()
        serving.export_parameters(work / name, these, of_items)
    return {name: work / name / "bundle" for name in cases}


def bytes_of(exports: dict[str, Path], work: Path) -> list[dict[str, Any]]:
    """Rows of bytes, and of the seconds that making and applying a delta take; the deltas stay in ``work``."""
    from rexjax.serving import delta_folder, parts

    found = []
    for name, what in (("rows", "1 % of the rows"), ("night", "1 % of the rows, new items, all counts and weights")):
        began = time.perf_counter()
        about = delta_folder.make(exports["old"], exports[name], work / f"delta-{name}")
        made = time.perf_counter() - began
        folder = shutil.copytree(exports["old"], work / f"applied-{name}")
        began = time.perf_counter()
        delta_folder.apply(folder, work / f"delta-{name}")
        applied = time.perf_counter() - began
        size, same = about["bytes"], parts.reading(folder, _files) == parts.reading(exports[name], _files)
        if not same:
            raise SystemExit(f"{folder} is another export than {exports[name]}")
        share = size["delta"] / size["whole"]
        found += [
            record.row(
                f"{what}: share of a whole export", "", share, delta_bytes=size["delta"], whole_bytes=size["whole"]
            ),
            record.row(f"{what}: making the delta", "s", made),
            record.row(f"{what}: applying it, without starting Python", "s", applied),
        ]
    return found


def _files(export: Any) -> dict[str, bytes]:
    return {name: content.tobytes() for name, content in export.files.items()} | {"": export.manifest}


class Live:
    """A server under load."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work, self.log = folder, work, work / "log"
        self.pieces: list[Path] = []
        self._end = threading.Event()
        command = [
            sys.executable,
            "-m",
            "rexjax.cli",
            "serve",
            str(folder),
            "--port",
            "0",
            "--store",
            f"{work}/store.db",
        ]
        with self.log.open("w") as log:
            self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.server.stdout.readline() if self.server.stdout else ""
        if not line.startswith("http"):
            raise SystemExit(f"the server did not start: {self.log.read_text()[-2000:]}")
        self.port = int(line.split(": ")[0].rpartition(":")[2])
        self._loading = threading.Thread(target=self._load)
        self._loading.start()
        time.sleep(_SETTLED)

    def _load(self) -> None:
        for piece in itertools.count():
            if self._end.is_set():
                return
            self.pieces.append(self.work / f"load{piece:04d}.npz")
            about = str(self.port), str(RATE), str(PIECE), str(self.pieces[-1])
            subprocess.run([sys.executable, "-m", "benchmarks.open_load", *about], check=True)

    def switch(self, *command: str | Path, signalled: bool) -> dict[str, float]:
        """Runs `rexjax delta COMMAND`, and waits until the server has swapped.

        Args:
            command: of `rexjax delta`.
            signalled: whether the server is told at once (SIGHUP); else it looks every two seconds.

        Returns:
            ``began`` and ``named`` (when ``bundle.json`` was put in place), by ``time.monotonic``; ``command``,
            ``check`` and ``load``, seconds.
        """
        swaps, began = len(self._swaps()), time.monotonic()
        subprocess.run([sys.executable, "-m", "rexjax.cli", "delta", *map(str, command)], check=True, stdout=sys.stderr)
        ended = time.monotonic()
        if signalled:
            self.server.send_signal(signal.SIGHUP)
        while len(self._swaps()) == swaps:
            if time.monotonic() - ended > PATIENCE:
                raise SystemExit(f"the server did not swap: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        time.sleep(_SETTLED)
        said = self._swaps()[-1]
        if said["swap"] != "done":
            raise SystemExit(f"the server refused the export: {said['why']}")
        named = (self.folder / "bundle.json").stat().st_mtime - time.time() + time.monotonic()
        times = {"check": said["check_seconds"], "load": said["load_seconds"]}
        return {"began": began, "named": named, "command": ended - began} | times

    def _swaps(self) -> list[dict[str, Any]]:
        lines = [line[line.index("{") :] for line in self.log.read_text().splitlines() if '"swap"' in line]
        return [json.loads(line)["said"] for line in lines]

    def close(self) -> open_load.Answers:
        """Ends both; all answers."""
        self._end.set()
        self._loading.join()
        self.server.terminate()
        self.server.wait(60)
        answers = [open_load.read(path) for path in self.pieces]
        return open_load.Answers(*(np.concatenate(part) for part in zip(*answers, strict=True)))


def swap_rows(exports: dict[str, Path], work: Path) -> list[dict[str, Any]]:
    """Rows of switches under load."""
    folder, delta = shutil.copytree(exports["old"], work / "live"), work / "delta-night"
    live, times = Live(folder, work), {}
    try:
        times["apply"] = live.switch("apply", folder, delta, signalled=True)
        times["rollback"] = live.switch("rollback", folder, signalled=True)
        times["apply, without SIGHUP"] = live.switch("apply", folder, delta, signalled=False)
    finally:
        answers = live.close()
    version = {name: json.loads((exports[name] / "bundle.json").read_text())["index"][:12] for name in ("old", "night")}
    found = []
    for name, time_of in times.items():
        old = version["night" if name == "rollback" else "old"]
        found += _rows_of(name, time_of, answers, old)
    failed = answers.outcome != open_load.OK
    found += [record.row("requests", "", len(failed)), record.row("failed requests", "", int(failed.sum()))]
    return [*found, answers.latency("all the while")]


def _rows_of(name: str, times: dict[str, float], answers: open_load.Answers, old: str) -> list[dict[str, Any]]:
    during = (answers.end >= times["named"]) & (answers.outcome == open_load.OK)
    first_new = answers.end[during & (answers.version != old)].min()
    last_old = answers.end[during & (answers.version == old) & (answers.due < first_new + _SETTLED)].max()
    seconds = float(last_old - times["named"])
    return [
        record.row(f"{name}: the command", "s", times["command"]),
        record.row(f"{name}: until all answers are new", "s", seconds, first_new=float(first_new - times["named"])),
        record.row(f"{name}: compiling and checking apart", "s", times["check"]),
        record.row(f"{name}: until all answers are new, without the check", "s", seconds - times["check"]),
    ]


def main() -> None:
    """Runs everything and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--items", type=int, default=serving.ITEMS)
    parser.add_argument("--machine", default="", help="a remark on what else ran")
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        exports = make_exports(work, flags.items)
        rows = [*bytes_of(exports, work), *swap_rows(exports, work)]
    for row in rows:
        print(row)
    more = {"remark": flags.machine} if flags.machine else {}
    record.write(flags.json, rows, ("jax", "numpy", "pyarrow", "starlette", "uvicorn"), **more)


if __name__ == "__main__":
    main()
