"""Workdirs under kills and races: two runs, an export and readers at once, on a local disk and on a flat bucket.

    python -m benchmarks.workdirs [--quick] [--json FILE]

Each round starts processes that publish versions of a tiny artifact, export it and read both; some are stopped for
longer than a lease, and all are killed at random times. Then the folders are looked at: no reader may have seen files
of two versions or a sound version as damaged, nothing published may be missing, and no file of the user's be touched.
Whole runs of stage prepare follow, two at once, of which one is killed.
"""

import argparse
import collections
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import flat_bucket, record
from rexjax.artifacts import lock, store, versions
from rexjax.artifacts.versions import Owner
from rexjax.errors import UserError
from rexjax.serving import parts

ROUNDS, WHOLE = 150, 12
"""On each kind of disk; and of stage prepare, whose libraries rename folders, on the local one."""
DISKS: dict[str, Callable[[], None]] = {"local disk": lambda: None, "flat bucket": flat_bucket.install}
FILES = ("a", "b/c", "d")
BEAT, SILENCE = 0.03, 0.3
"""Seconds of a lease, so that a process can sleep through it."""
NOTE = "of the user's\n"
CONFIG = """
from rexjax.config import *

def get_config():
    shop = Shop(users=60, items=40, interactions=600, days=30)
    return Config("nowhere", data=Data(source=shop, min_user_events=1, min_item_events=1, strict=False))
"""
FAILURES = "mixed versions", "false damaged", "published and lost", "files of the user's lost", "errors", "stuck"


class Disk:
    """A workdir and an export of it, with files of the user's among them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index, self.bundle, self.said = folder / "run" / "index", folder / "bundle", folder / "said"
        self.notes: list[Path] = []
        self.said.mkdir(parents=True)
        publish(self)
        export(self)
        self.plant(folder / "run")
        self.plant(self.index)
        self.plant(self.bundle)

    def plant(self, folder: Path) -> None:
        """Puts a file of the user's into ``folder``."""
        path = folder / f"note {len(self.notes)}.txt"
        with contextlib.suppress(OSError):
            path.write_text(NOTE)
            self.notes.append(path)

    def note(self, what: str) -> None:
        """Adds a line that outlives this process."""
        with (self.said / str(os.getpid())).open("a") as file:
            file.write(what + "\n")


def publish(disk: Disk) -> None:
    """One version more than the newest, each file of which holds its number."""
    with lock.of(disk.index.parent) as owner:
        number = _newest(disk.index) + 1
        work = versions.begin(disk.index, f"key {number}", owner)
        for name in FILES:
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_text(str(number))
        _finish(work, number, owner)
    disk.note(f"published {number}")


def _newest(place: Path) -> int:
    return int(store.find(place).metrics["number"]) if any(done for _, done in versions.state(place)) else 0


def _finish(work: Path, number: int, owner: Owner) -> None:
    metrics = {"number": number}
    store.finish(work, f"key {number}", content={}, seconds=0, config={}, metrics=metrics, owner=owner)


def export(disk: Disk) -> None:
    """Exports the newest version."""

    def write(place: Path) -> dict[str, Any]:
        numbers = store.reading(disk.index, _numbers)
        for name, number in enumerate(numbers):
            (place / str(name)).write_text(number)
        return {"format": 0}

    disk.bundle.mkdir(exist_ok=True)
    with lock.of(disk.bundle) as owner:
        parts.publish(disk.bundle, "tiny", write, owner)


def _numbers(artifact: store.Artifact) -> list[str]:
    store.check_files(artifact)
    return [(artifact.folder / name).read_text() for name in FILES]


def read(disk: Disk) -> None:
    """Reads the newest version, and the export."""
    found = store.reading(disk.index, _numbers)
    exported = parts.reading(disk.bundle, lambda export: [content.tobytes() for content in export.files.values()])
    mixed = len(set(found)) > 1 or len(set(exported)) > 1
    disk.note("mixed versions" if mixed else "read")


def again_and_again(act: Callable[[Disk], None], disk: Disk, seed: int) -> None:
    """Does it until it is killed, or its parent is; what fails is noted."""
    rng, parent = random.Random(seed), os.getppid()
    while os.getppid() == parent:
        try:
            act(disk)
        except UserError as error:
            said = str(error)
            kind = "false damaged" if "damaged" in said or "missing" in said or "not finished" in said else "refused"
            disk.note(f"{kind} {said}")
        except Exception as error:  # counted: none may come
            disk.note(f"errors {type(error).__name__} {error}")
        time.sleep(rng.uniform(0, 0.01))


def spawn(act: Callable[[Disk], None], disk: Disk, install: Callable[[], None], seed: int) -> int:
    """Another process that does it; its number."""
    if process := os.fork():
        return process
    try:
        install()
        again_and_again(act, disk, seed)
    finally:
        os._exit(1)


def race(disk: Disk, install: Callable[[], None], rng: random.Random, found: collections.Counter[str]) -> None:
    """One round: two runs, an export and two readers, one stopped for longer than its lease, all killed."""
    acts = (publish, publish, export, read, read)
    processes = [spawn(act, disk, install, rng.getrandbits(32)) for act in acts]
    time.sleep(rng.uniform(0, 0.3))
    if rng.random() < 0.3:
        asleep = rng.choice(processes[:3])
        os.kill(asleep, signal.SIGSTOP)
        time.sleep(SILENCE + rng.uniform(0.1, 0.4))
        os.kill(asleep, signal.SIGCONT)
        time.sleep(rng.uniform(0, 0.1))
    for process in rng.sample(processes, len(processes)):
        time.sleep(rng.uniform(0, 0.02))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    found["kills"] += len(processes)
    _look(disk, found)
    if rng.random() < 0.1:
        disk.plant(store.find(disk.index).folder)


def _look(disk: Disk, found: collections.Counter[str]) -> None:
    """What the processes said, and what they left."""
    newest = 0
    for said in disk.said.iterdir():
        for line in said.read_text().splitlines():
            kind = next((kind for kind in FAILURES if line.startswith(kind)), line.split()[0])
            found[kind] += 1
            newest = max(newest, int(line.split()[1])) if kind == "published" else newest
            if kind in FAILURES:
                print(line, flush=True)
        said.unlink()
    found["published and lost"] += _newest(disk.index) < newest
    found["files of the user's lost"] += any(not note.exists() or note.read_text() != NOTE for note in disk.notes)
    for act in (read, publish, export, read):  # a later run finds all as it should be
        try:
            act(disk)
        except Exception as error:  # counted: none may come
            found["stuck"] += 1
            print(type(error).__name__, error, flush=True)
    for said in disk.said.iterdir():
        found["mixed versions"] += "mixed versions" in said.read_text()
        said.unlink()


def races(name: str, rounds: int, seed: int) -> list[dict[str, Any]]:
    """The rows of one kind of disk."""
    rng, found = random.Random(seed), collections.Counter[str]()
    lock.BEAT, lock.SILENCE = BEAT, SILENCE
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        for number in range(1, rounds + 1):
            race(disk, DISKS[name], rng, found)
            if number % 50 == 0:
                print(name, number, dict(found), flush=True)
    counts = ("kills", "published", "read", "refused", *FAILURES)
    return [record.row(f"{name}: two runs, an export, two readers", count, found[count]) for count in counts]


def whole(count: int, seed: int) -> list[dict[str, Any]]:
    """Two runs of stage prepare at once, one of them killed; a third ends as the run that was left alone."""
    rng, equal, kept = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "tiny.py").write_text(CONFIG)
        straight = _prepare(folder, "straight")
        started = time.monotonic()
        straight.wait()
        seconds, hash_ = time.monotonic() - started, store.read(folder / "straight" / "prepare").hash
        for number in range(count):
            workdir = folder / f"run{number}"
            workdir.mkdir()
            (workdir / "note.txt").write_text(NOTE)
            pair = [_prepare(folder, workdir.name) for _ in range(2)]
            time.sleep(rng.uniform(0, 1.2 * seconds))
            for process in rng.sample(pair, 2):
                process.kill()
                process.wait()
            code = _prepare(folder, workdir.name).wait()
            equal += code == 0 and store.read(workdir / "prepare").hash == hash_
            kept += (workdir / "note.txt").read_text() == NOTE
            shutil.rmtree(workdir)
    case = "local disk: stage prepare, two at once, killed, run again"
    return [
        record.row(case, "ends as the straight run", equal, of=count),
        record.row(case, "the user's file is as it was", kept, of=count),
    ]


def _prepare(folder: Path, workdir: str) -> subprocess.Popen[bytes]:
    arguments = "prepare", folder / "tiny.py", "--workdir", folder / workdir
    command = [sys.executable, "-m", "rexjax.cli", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, **quiet)


def main() -> None:
    """Runs all and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    parser.add_argument("--seed", type=int, default=0, help="of all random choices")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in DISKS:
        rows += races(name, ROUNDS // 10 if flags.quick else ROUNDS, flags.seed)
        record.write(flags.json, rows, ("jax",))
    rows += whole(2 if flags.quick else WHOLE, flags.seed)
    record.write(flags.json, rows, ("jax",))
    for row in rows:
        print(f"{row['case']}: {row['ours']} {row['unit']}" + (f" of {row['of']}" if "of" in row else ""))


if __name__ == "__main__":
    main()
