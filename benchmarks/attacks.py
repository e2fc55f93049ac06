"""Attacks on one server, all at once, while good requests come on schedule.

    python -m benchmarks.attacks --json benchmarks/results/attacks.json

`rexjax serve` with keys answers 200 good requests a second over loopback (benchmarks/open_load.py), first alone, then
beside the attacks, each from an address and a process of its own: endless headers, 1,000 clients that send a byte a
second, 200 connections that send nothing, 300 wrong keys a second, numbers of 5,000 digits. Memory is VmRSS.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks import open_load, record, serving

SECONDS, RATE = 30.0, 200.0
QUICK_SECONDS = 6.0
SECRET = "a secret of the benchmark"
KEY = f"authorization: Bearer {SECRET}"
P99_MS, GROWTH_MB = 50.0, 100.0
"""What a quiet machine is to stay below."""


async def header_flood(port: int, said: Counter[str]) -> None:
    """A connection that sends small headers without end."""
    lines = b"".join(b"x-%d: y\r\n" % number for number in range(10_000))
    await _knock(port, "127.0.0.2", b"GET / HTTP/1.1\r\nhost: x\r\n" + lines, said)
    await asyncio.sleep(0.1)


async def slow_clients(port: int, said: Counter[str]) -> None:
    """1,000 clients, each of which sends a byte a second."""
    await asyncio.gather(*(_drip(port, "127.0.0.3", said) for _ in range(1000)))


async def idle_sockets(port: int, said: Counter[str]) -> None:
    """200 connections that send nothing."""
    await asyncio.gather(*(_knock(port, "127.0.0.4", b"", said) for _ in range(200)))


async def wrong_keys(port: int, said: Counter[str]) -> None:
    """300 wrong keys a second."""
    head = b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\nauthorization: Bearer "
    await _knock(port, "127.0.0.5", head + os.urandom(8).hex().encode() + b"\r\n\r\n{}", said)
    await asyncio.sleep(1 / 300)


async def long_numbers(port: int, said: Counter[str]) -> None:
    """Numbers of 5,000 digits, with a right key, in a query and in a body."""
    body = b'{"k": ' + b"9" * 5000 + b"}"
    tail = b"host: x\r\nconnection: close\r\n" + KEY.encode() + b"\r\n"
    query = b"GET /v1/items?k=" + b"9" * 5000 + b" HTTP/1.1\r\n" + tail + b"\r\n"
    post = b"POST /v1/recommend HTTP/1.1\r\n" + tail + b"content-length: %d\r\n\r\n" % len(body) + body
    for request in (query, post):
        await _knock(port, "127.0.0.6", request, said)
    await asyncio.sleep(0.02)


ATTACKS: dict[str, Callable[[int, Counter[str]], Coroutine[Any, Any, None]]] = {
    "header flood": header_flood,
    "slow clients": slow_clients,
    "idle sockets": idle_sockets,
    "wrong keys": wrong_keys,
    "long numbers": long_numbers,
}


async def _knock(port: int, address: str, data: bytes, said: Counter[str]) -> None:
    """Sends ``data``, and counts the status of the answer; without an answer, "closed"."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    except OSError:
        said["no connection"] += 1
        return
    with contextlib.suppress(OSError):
        writer.write(data)
        said[_status(await reader.read(1024))] += 1
    writer.close()


async def _drip(port: int, address: str, said: Counter[str]) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    except OSError:
        said["no connection"] += 1
        return
    answer = asyncio.create_task(reader.read(1024))
    with contextlib.suppress(OSError):
        for byte in b"GET / HTTP/1.1\r\nhost: localhost\r\n":
            writer.write(bytes([byte]))
            await asyncio.wait({answer}, timeout=1.0)
            if answer.done():
                break
        said[_status(await answer)] += 1
    writer.close()


def _status(answer: bytes) -> str:
    return answer[9:12].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"


async def attack(name: str, port: int, seconds: float) -> dict[str, int]:
    """What the server said to an attack that is made again and again for ``seconds``."""
    said: Counter[str] = Counter()

    async def again() -> None:
        while True:
            await ATTACKS[name](port, said)

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(again(), seconds)
    return dict(said)


class Server:
    """``rexjax serve`` with a key, until it is stopped."""

    def __init__(self, work: Path) -> None:
        """Of the export in ``work``/bundle."""
        (work / "keys").write_text(f"bench:{hashlib.sha256(SECRET.encode()).hexdigest()}\n", encoding="utf-8")
        flags = ["--port", "0", "--keys", f"{work}/keys", "--store", f"{work}/store.db"]
        command = [sys.executable, "-m", "rexjax.cli", "serve", f"{work}/bundle", *flags]
        with (work / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line.startswith("http"):
            raise SystemExit(f"the server did not start: {(work / 'log').read_text()[-2000:]}")
        self.port = int(line.split(": ")[0].rpartition(":")[2])

    def resident(self) -> float:
        """MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.terminate()
        return self.process.wait(60)


def load(port: int, rate: float, seconds: float, path: Path) -> open_load.Answers:
    """Good requests on schedule, from a process of their own."""
    about = str(port), str(rate), str(seconds), str(path), KEY
    subprocess.run([sys.executable, "-m", "benchmarks.open_load", *about], check=True)
    return open_load.read(path)


def watch(server: Server, found: list[float], end: threading.Event) -> None:
    """Appends resident memory until ``end``."""
    while not end.wait(0.1):
        found.append(server.resident())


def measure(work: Path, seconds: float, rate: float) -> list[dict[str, Any]]:
    """Rows of the good requests alone, of those beside the attacks, of memory, and of what the attacks were told."""
    server, end, sizes = Server(work), threading.Event(), []
    try:
        load(server.port, rate, 3.0, work / "warm.npz")
        alone = load(server.port, rate, seconds, work / "alone.npz")
        before = server.resident()
        thread = threading.Thread(target=watch, args=(server, sizes, end))
        thread.start()
        command = [sys.executable, "-m", "benchmarks.attacks", "--attack"]
        attackers = [
            subprocess.Popen([*command, name, str(server.port), str(seconds + 2)], stdout=subprocess.PIPE, text=True)
            for name in ATTACKS
        ]
        time.sleep(1.0)
        beside = load(server.port, rate, seconds, work / "beside.npz")
        said = [json.loads(attacker.communicate(timeout=120)[0].splitlines()[-1]) for attacker in attackers]
        end.set()
        thread.join()
    finally:
        end.set()
        code = server.stop()
    rows = [alone.latency("alone"), beside.latency("beside the attacks")]
    for name, answers in (("alone", alone), ("beside the attacks", beside)):
        kinds = dict(Counter(answers.outcome[answers.outcome != open_load.OK].tolist()))
        rows.append(record.row(f"failed good requests, {name}", "", sum(kinds.values()), kinds=kinds))
    rows.append(record.row("memory before, and growth at most", "MB", max(sizes) - before, before=before))
    rows += [
        record.row(f"answers to {name}", "", sum(one.values()), kinds=one)
        for name, one in zip(ATTACKS, said, strict=True)
    ]
    rows.append(record.row("exit code after SIGTERM", "", code))
    return rows


def main() -> None:
    """Runs everything and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--rate", type=float, default=RATE, help="good requests a second")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS:.0f} seconds in place of {SECONDS:.0f}")
    parser.add_argument("--machine", default="", help="a remark on what else ran")
    parser.add_argument("--attack", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if flags.attack:
        name, port, seconds = flags.attack
        print(json.dumps(asyncio.run(attack(name, int(port), float(seconds)))))
        return
    with tempfile.TemporaryDirectory() as name:
        serving.export_bundle(Path(name))
        rows = measure(Path(name), QUICK_SECONDS if flags.quick else SECONDS, flags.rate)
    for row in rows:
        print(row)
    more = {"remark": flags.machine} if flags.machine else {}
    record.write(flags.json, rows, ("jax", "numpy", "starlette", "uvicorn"), **more)


if __name__ == "__main__":
    main()
