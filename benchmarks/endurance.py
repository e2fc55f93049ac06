"""Minutes of load on two replicas behind nginx, while the index is swapped twice and one replica is killed.

    apt-get install nginx-light
    python -m benchmarks.endurance --json benchmarks/results/endurance.json

Both replicas are `rexjax serve` of one folder, over loopback, with a cache of compiled programs that is empty at first;
the load (benchmarks/open_load.py) is open, from a process of its own: 70 % of the rate that benchmarks/serving.py has
found one server to sustain. At fixed shares of the time another index, of a few more items, is put into the folder as
`rexjax export` does it; a replica is killed (SIGKILL) and started again at once, as a supervisor does; the first index
is put back. Memory is VmRSS; its growth is the Theil-Sen slope from the end of the first minute.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import open_load, record, serving

SHARE = 0.7
"""Of the sustained rate."""
AFTER = 5.0
"""Seconds after an incident that are looked at by themselves."""
WAITING = 16384
"""Requests that may wait at a replica: while one starts, the cores of this machine do not do for the load, and five
seconds of it wait at the other."""
MORE = 1000
"""Items that the second index has more."""
WHEN = {"swap": 0.2, "kill": 0.4, "restart": 0.4, "swap back": 0.7}
"""Shares of the time."""
NGINX = """
daemon off;
worker_processes 2;
worker_rlimit_nofile {files};
pid {work}/nginx.pid;
error_log {work}/nginx.log warn;
events {{ worker_connections {files}; }}
http {{
  access_log off;
  client_body_temp_path {work}/nginx-body;
  proxy_temp_path {work}/nginx-proxy;
  fastcgi_temp_path {work}/nginx-fastcgi;
  uwsgi_temp_path {work}/nginx-uwsgi;
  scgi_temp_path {work}/nginx-scgi;
  upstream replicas {{
    least_conn;
    server 127.0.0.1:{first} max_fails=1 fail_timeout=1s;
    server 127.0.0.1:{second} max_fails=1 fail_timeout=1s;
    keepalive 64;
  }}
  server {{
    listen 127.0.0.1:{front} backlog=2048;
    keepalive_timeout 1h;
    keepalive_requests 10000000;
    location / {{
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host localhost;
      proxy_connect_timeout 1s;
      proxy_read_timeout 10s;
      proxy_next_upstream error timeout http_502 http_503 non_idempotent;
    }}
  }}
}}
"""


def main() -> None:
    """Runs everything and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="requests a second; 0: 70 %% of what one server sustains"
    )
    parser.add_argument("--quick", action="store_true", help="one minute")
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if not shutil.which("nginx"):
        raise SystemExit("benchmarks.endurance needs nginx: apt-get install nginx-light")
    rate, seconds = flags.rate or SHARE * _sustained(), 60.0 if flags.quick else 60 * flags.minutes
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        run = Run(Path(name), stack)
        run.endure(seconds, rate)
        rows = _rows(run, rate, seconds)
    for row in rows:
        print(row)
    record.write(flags.json, rows, ("jax", "numpy", "starlette", "uvicorn"), nginx=_nginx_version())


def _sustained() -> float:
    path = Path(__file__).parent / "results" / "serving.json"
    best = [row["ours"] for row in record.rows(str(path)) if row["case"] == serving.SUSTAINED]
    if not best:
        raise SystemExit(f"{path} has no row {serving.SUSTAINED!r}: run benchmarks.serving first, or give --rate")
    return best[0]


def _nginx_version() -> str:
    said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().rpartition("/")[2]


class Run:
    """Two replicas, nginx before them, and what happens to them."""

    def __init__(self, work: Path, stack: contextlib.ExitStack) -> None:
        """Everything ready, in folders of ``work``, until ``stack`` is closed."""
        self.work, self._stack, self.folder = work, stack, work / "bundle"
        self._environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(work / "programs")}
        for number, name in enumerate(("one", "two")):
            serving.export_bundle(work / name, number, serving.ITEMS + number * MORE)
        self._put("one")
        self.ports = {name: port for name, port in zip(("first", "second", "front"), _free_ports(3), strict=True)}
        self.memory: dict[str, list[tuple[float, float]]] = {}
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.incidents: dict[str, tuple[float, float]] = {}
        for name in ("first", "second"):
            self._start(name)
        for name in ("first", "second"):
            serving.until_ready(self.ports[name], self.servers[name])
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        (work / "nginx.conf").write_text(NGINX.format(work=work, files=files, **self.ports))
        self._popen("nginx", "nginx", "-e", f"{work}/nginx.log", "-c", f"{work}/nginx.conf")
        serving.until_ready(self.ports["front"], self.servers["nginx"])

    def _popen(self, name: str, *command: str) -> None:
        with (self.work / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=self._environment)
        self.servers[name] = self._stack.enter_context(_ended(process))

    def _start(self, name: str) -> None:
        store = str(self.work / "histories.db")
        about = str(self.folder), "--port", str(self.ports[name]), "--store", store, "--waiting", str(WAITING)
        self._popen(name, sys.executable, "-m", "rexjax.cli", "serve", *about)

    def _put(self, name: str) -> None:
        """What `rexjax export` does: all files beside those of the bundle before, then one rename, then those go."""
        source, before = self.work / name / "bundle", list(self.folder.glob("parts-*"))
        place = f"parts-{time.time_ns()}"
        about = json.loads((source / "bundle.json").read_text())
        shutil.copytree(source / about["place"], self.folder / place)
        (self.folder / "new.json").write_text(json.dumps(about | {"place": place}))
        os.replace(self.folder / "new.json", self.folder / "bundle.json")
        for path in before:
            shutil.rmtree(path)

    def _kill(self) -> None:
        self.servers["second"].kill()
        self.servers["second"].wait()

    def _restart(self) -> None:
        self._start("second")
        serving.until_ready(self.ports["second"], self.servers["second"])

    def endure(self, seconds: float, rate: float) -> None:
        """The load, and everything that happens during it."""
        actions: dict[str, Callable[[], None]] = {
            "swap": lambda: self._put("two"),
            "kill": self._kill,
            "restart": self._restart,
            "swap back": lambda: self._put("one"),
        }
        about = str(self.ports["front"]), str(rate), str(seconds), str(self.work / "load.npz")
        load = subprocess.Popen([sys.executable, "-m", "benchmarks.open_load", *about])
        self.begin, end = time.monotonic(), threading.Event()
        watching = threading.Thread(target=self._watch, args=(end, min(2.0, seconds / 60)))
        watching.start()
        try:
            for name, share in WHEN.items():
                time.sleep(max(0.0, self.begin + share * seconds - time.monotonic()))
                started = time.monotonic()
                actions[name]()
                self.incidents[name] = started, time.monotonic()
            if load.wait():
                raise SystemExit(f"the load has ended with {load.returncode}")
        finally:
            load.kill()
            load.wait()
            end.set()
            watching.join()

    def _watch(self, end: threading.Event, every: float) -> None:
        """Notes the memory of each replica."""
        while not end.wait(every):
            for name in ("first", "second"):
                with contextlib.suppress(OSError, TypeError):  # it is being killed
                    status = Path(f"/proc/{self.servers[name].pid}/status").read_text(encoding="utf-8")
                    kilobytes = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
                    series = self.memory.setdefault(f"{name}, process {self.servers[name].pid}", [])
                    series.append((time.monotonic(), kilobytes / 1024))

    def version(self, name: str) -> str:
        """Of a bundle, as answers tell it."""
        return json.loads((self.work / name / "bundle" / "bundle.json").read_text())["index"][:12]

    def told(self) -> list[dict[str, Any]]:
        """What the replicas' metrics say of swaps, and what the logs say besides requests."""
        rows = []
        for name in ("first", "second"):
            text = urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/metrics").read().decode()
            swaps = {key: float(n) for key, n in re.findall(r'rexjax_swaps_total{outcome="(\w+)"} (\S+)', text)}
            rows.append(
                record.row(f"swaps of the {name} replica's last process", "", swaps.get("done", 0.0), told=swaps)
            )
        for name in self.servers:
            lines = (self.work / f"{name}.log").read_text().splitlines()
            odd = [line for line in lines if '"level": "INFO"' not in line]
            rows.append(record.row(f"lines in the log of {name} that are no request's", "", len(odd), last=odd[-3:]))
        return rows


def _grown(name: str, series: list[tuple[float, float]], after: float) -> dict[str, Any]:
    """Megabytes of a process that it had at first, at last, and gained a minute; none where it did not live so long."""
    times, sizes = np.asarray([one for one in series if one[0] >= series[0][0] + after]).reshape(-1, 2).T
    if len(times) < 3:
        return record.row(f"memory of {name}", "MB", series[-1][1])
    slope, _, low, high = stats.theilslopes(sizes, times / 60)
    found = {"first": float(np.median(sizes[:5])), "last": float(np.median(sizes[-5:])), "most": float(sizes.max())}
    return record.row(f"memory of {name}", "MB a minute", float(slope), interval=[float(low), float(high)], **found)


def _rows(run: Run, rate: float, seconds: float) -> list[dict[str, Any]]:
    """Everything that was found."""
    answers, at = open_load.read(run.work / "load.npz"), run.incidents
    rows = [record.row("asked for", "1/s", rate, seconds=seconds), *answers.failed(at["kill"]), answers.latency("all")]
    swaps = {"swap": (at["swap back"][0], "two"), "swap back": (np.inf, "one")}
    for name, (begin, end) in at.items():
        if name in swaps:
            until, new = swaps[name]
            rows.append(answers.swapped(name, begin, until, run.version(new)))
            end = begin + (rows[-1]["ours"] or 0.0)
        about = {"seconds": end - begin, "at": begin - run.begin}
        rows.append(answers.latency(f"{name} and {AFTER:.0f} s after", begin, end + AFTER) | about)
    after = min(60.0, 0.1 * seconds)
    calm = end + 2 * AFTER  # of the last swap
    for name, series in run.memory.items():
        rows.append(_grown(name, series, after))
        if later := [one for one in series if one[0] >= calm]:
            rows.append(_grown(f"{name}, after the last swap", later, 0.0))
    return rows + run.told()


def _free_ports(count: int) -> list[int]:
    """Free now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
