"""Runs that are killed, stopped, moved to other devices, damaged or out of room, beside runs that are left alone.

    python -m benchmarks.kills [--quick] [--only sigkill,stages] [--json FILE]

A tiny shop, so that a run is short; two processes of four emulated CPU devices. Every random choice follows from
--seed. Rows are written after each part, and those of other parts are kept.
"""

import argparse
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.local_runs import CONFIG, Layout, Run, finish, steps

PAIR, ALONE = Layout(2, 4), Layout(1, 1)
OTHERS = (Layout(1, 8), Layout(1, 4), Layout(1, 1), Layout(4, 2))
GRACE = 90.0
"""Seconds in which the others must have stopped when one was asked to."""
STAGES = ("prepare", "encode", "baselines", "distill", "compress", "index", "evaluate")


class Shop:
    """The folder of all runs: the config, what a straight run left, and copies of it to be killed."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.rng = folder, random.Random(seed)
        self.config = folder / "tiny.py"
        self.config.write_text(CONFIG)
        self._copies = 0
        self.straight = folder / "straight"
        for stage in ("prepare", "encode"):
            finish(self.straight, ALONE, *self.arguments(stage, self.straight))
        started = time.monotonic()
        finish(self.straight, PAIR, *self.arguments("teacher", self.straight))
        self.seconds, self.steps = time.monotonic() - started, steps(self.straight, 0)

    def arguments(self, stage: str, folder: Path) -> tuple[str, ...]:
        """Of the command line."""
        return stage, str(self.config), "--workdir", str(folder / "workdir")

    def copy(self, *stages: str, of: Path | None = None) -> Path:
        """A folder with finished ``stages``, or with all that ``of`` has."""
        self._copies += 1
        folder = self.folder / f"run{self._copies}"
        if of:
            shutil.copytree(of, folder)
            return folder
        (folder / "workdir").mkdir(parents=True)
        for stage in stages:
            shutil.copytree(self.straight / "workdir" / stage, folder / "workdir" / stage)
        shutil.copy(self.straight / "workdir" / "config.json", folder / "workdir" / "config.json")
        return folder

    def strike(self, folder: Path, number: signal.Signals, grace: float) -> tuple[list[int], int]:
        """Begins the teacher, strikes one of its processes somewhere between start and end; exit codes, place."""
        run = Run(folder, PAIR, *self.arguments("teacher", folder))
        place = self.rng.randrange(1 if number == signal.SIGTERM else 0, len(self.steps) + 1)
        run.reaches(place)
        time.sleep(self.rng.uniform(0, 5.0 if place == 0 else 0.5))
        run.strike(number, self.rng)
        return run.wait(grace), place

    def resume(self, folder: Path, layout: Layout = PAIR) -> Run:
        """The same command again, to its end."""
        return finish(folder, layout, *self.arguments("teacher", folder))


def manifest(folder: Path, stage: str) -> dict[str, Any]:
    """Of a finished stage."""
    from rexjax.artifacts import store

    return store.find(folder / "workdir" / stage).manifest


def result(folder: Path) -> tuple[str, Any]:
    """The teacher's hash, and its metrics without what the clock said."""
    found = manifest(folder, "teacher")
    clock = "seconds", "targets_per_second", "goodput"

    def timeless(entry: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in entry.items() if key not in clock}

    summary = found["metrics"]["training"]["teacher"]
    return found["hash"], timeless(summary) | {"curve": [timeless(entry) for entry in summary["curve"]]}


def _drop(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def sigkill(shop: Shop, quick: bool) -> list[dict[str, Any]]:
    """One process is killed; a launcher that sees it kills the other one soon."""
    rows, _ = _struck(shop, signal.SIGKILL, 3 if quick else 30, lambda: shop.rng.uniform(0, 2))
    return rows


def sigterm(shop: Shop, quick: bool) -> list[dict[str, Any]]:
    """One process is asked to stop, and both do."""
    rows, codes = _struck(shop, signal.SIGTERM, 2 if quick else 30, lambda: GRACE)
    stopped = sum(set(found) <= {75} for found in codes)
    return [
        *rows,
        record.row(rows[0]["case"], "runs whose processes all ended with 75", stopped, of=len(codes), all=codes),
    ]


def _struck(shop: Shop, number: signal.Signals, count: int, grace: Callable[[], float]) -> tuple[list[Any], list[Any]]:
    """Runs that are struck at a random moment: whether the end is the straight run's bit for bit, and what is lost."""
    equal, lost, codes = 0, [], []
    for _ in range(count):
        folder = shop.copy("prepare", "encode")
        found, place = shop.strike(folder, number, grace())
        shop.resume(folder)
        codes.append(found)
        lost.append(sum(steps(folder, 0)) - sum(shop.steps))
        same = result(folder) == result(shop.straight)
        equal += same
        print(f"{number.name} at stretch {place}: codes {found}, {lost[-1]} steps lost, equal: {same}", flush=True)
        _drop(folder)
    case = f"teacher, 2 x 4 devices, {number.name} at a random moment"
    ends = record.row(case, "runs that end as the straight one, bit for bit", equal, of=count)
    return [ends, record.row(case, "steps lost at most", max(lost), all=lost)], codes


def sigstop(shop: Shop, quick: bool) -> list[dict[str, Any]]:
    """One process is stopped for good, the first and then the other: when the one that is left ends, and how."""
    rows = []
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for victim in (0, 1):
            folder = shop.copy("prepare", "encode")
            run = Run(folder, PAIR, *shop.arguments("teacher", folder))
            run.reaches(2)
            stopped, left = run.processes[victim], run.processes[1 - victim]
            stopped.send_signal(number)
            started = time.monotonic()
            code, seconds = left.wait(GRACE), time.monotonic() - started
            stopped.kill()
            stopped.wait()
            said = [line for line in run.said().splitlines() if line.startswith("rexjax: ")]
            print(f"{number.name} of process {victim}: {code} after {seconds:.1f} s, {said}", flush=True)
            case = f"teacher, 2 x 4 devices, {number.name} of process {victim}, never started again"
            rows.append(record.row(case, "seconds until the other ends", seconds, limit=60, code=code, said=said))
            _drop(folder)
    return rows


def stages(shop: Shop, quick: bool) -> list[dict[str, Any]]:
    """Every other stage, SIGKILLed: the same artifacts."""
    order, rows = ("prepare", "encode", "baselines", "teacher", *STAGES[3:]), []
    for stage in STAGES[2:]:
        finish(shop.straight, ALONE, *shop.arguments(stage, shop.straight))
    for stage in STAGES:
        equal, count = 0, 1 if quick else 5
        for _ in range(count):
            folder = _killed(shop, stage, order[: order.index(stage)])
            finish(folder, ALONE, *shop.arguments(stage, folder))
            same = manifest(folder, stage)["hash"] == manifest(shop.straight, stage)["hash"]
            equal += same
            print(f"{stage}: killed, equal: {same}", flush=True)
            _drop(folder)
        case = f"{stage}, SIGKILL at a random moment"
        rows.append(record.row(case, "runs with the straight one's hash", equal, of=count))
    return rows


def _killed(shop: Shop, stage: str, before: tuple[str, ...]) -> Path:
    """A folder in which ``stage`` was killed before it ended."""
    seconds = manifest(shop.straight, stage)["seconds"]
    while True:
        folder = shop.copy(*before)
        run = Run(folder, ALONE, *shop.arguments(stage, folder))
        # most of a short stage is Python's start: it begins when it says so
        while f"{stage}: " not in run.said() and run.processes[0].poll() is None:
            time.sleep(0.01)
        time.sleep(shop.rng.uniform(0, seconds))
        run.strike(signal.SIGKILL, shop.rng)
        if run.wait() == [-signal.SIGKILL]:
            return folder
        seconds /= 2  # it has ended: with its programs compiled it is faster than the straight one was
        _drop(folder)


def meshes(shop: Shop, quick: bool) -> list[dict[str, Any]]:
    """Saved on 2 x 4 devices, resumed on others: how far the losses are from the straight run's."""
    saved = _saved(shop)
    rows = []
    for layout in OTHERS[:2] if quick else OTHERS:
        folder = shop.copy(of=saved)
        shop.resume(folder, layout)
        far = _difference(folder, shop.straight)
        case = f"teacher saved on 2 x 4 devices, resumed on {layout.processes} x {layout.devices}"
        print(f"{case}: {far:.1e}", flush=True)
        rows.append(record.row(case, "largest relative difference of an epoch's loss", far))
        _drop(folder)
    _drop(saved)
    return rows


def _saved(shop: Shop) -> Path:
    """A run that was stopped half-way, with two checkpoints."""
    folder = shop.copy("prepare", "encode")
    run = Run(folder, PAIR, *shop.arguments("teacher", folder))
    run.reaches(len(shop.steps) // 2)
    run.strike(signal.SIGTERM, shop.rng)
    if set(codes := run.wait(GRACE)) != {75}:
        raise RuntimeError(f"a run that was asked to stop ended with {codes}")
    return folder


def _difference(folder: Path, straight: Path) -> float:
    losses = [[entry["loss"] for entry in result(where)[1]["curve"]] for where in (folder, straight)]
    return max(abs(a / b - 1) for a, b in zip(*losses, strict=True))


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": _truncated,
    "one bit flipped": _flipped,
    "emptied": _emptied,
    "removed": Path.unlink,
}


def damage(shop: Shop, quick: bool) -> list[dict[str, Any]]:
    """Each file of the newest checkpoint is damaged, one at a time; for one of them the run is resumed as well."""
    from rexjax.artifacts import versions
    from rexjax.training import checksums

    saved, rows = _saved(shop), []
    work = versions.unfinished(saved / "workdir" / "teacher")
    if work is None:
        raise RuntimeError("a run that was asked to stop left no work")
    place = work.relative_to(saved) / "checkpoints" / "teacher"
    newest = place / max((path.name for path in (saved / place).iterdir() if path.name.isdigit()), key=int)
    names = sorted(path.relative_to(saved / newest) for path in (saved / newest).rglob("*") if path.is_file())
    full = [name for name in names if (saved / newest / name).stat().st_size]
    for kind, hurt in DAMAGES.items():
        found = 0
        files = names if kind == "removed" else full
        for name in files:
            kept = (saved / newest / name).read_bytes()
            hurt(saved / newest / name)
            found += bool(checksums.damage(saved / newest))
            (saved / newest / name).write_bytes(kept)
        rows.append(record.row(f"newest checkpoint, a file {kind}", "found of all files", found, of=len(files)))
    for kind, hurt in list(DAMAGES.items())[: 1 if quick else None]:
        folder = shop.copy(of=saved)
        hurt(folder / newest / shop.rng.choice(full))
        said = [line for line in shop.resume(folder).said().splitlines() if "is damaged and skipped" in line]
        same = result(folder) == result(shop.straight)
        print(f"{kind}: {said}, equal: {same}", flush=True)
        case = f"newest checkpoint, a file {kind}, resumed"
        rows.append(record.row(case, "lines that say so", len(said)))
        rows.append(record.row(case, "ends as the straight run, bit for bit", same))
        _drop(folder)
    _drop(saved)
    return rows


def disk(shop: Shop, quick: bool) -> list[dict[str, Any]]:
    """A disk (tmpfs) that is full when a checkpoint is written; with more room the run goes on."""
    saved, small, notes = _saved(shop), shop.folder / "small", shop.folder / "notes"
    small.mkdir()
    size = sum(path.stat().st_blocks * 512 for path in (saved / "workdir").rglob("*"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size + 65536}", "tmpfs", small], check=True)
    try:
        shutil.copytree(saved / "workdir", small / "workdir")
        run = Run(notes, Layout(1, 8), *shop.arguments("teacher", small))
        codes, said = run.wait(), [line for line in run.said().splitlines() if line.startswith("rexjax: ")]
        subprocess.run(["mount", "-o", f"remount,size={4 * size}", small], check=True)
        finish(notes, Layout(1, 8), *shop.arguments("teacher", small))
        far = _difference(small, shop.straight)
    finally:
        subprocess.run(["umount", small], check=True)
    print(f"full disk: {codes}, {said}, then {far:.1e}", flush=True)
    return [
        record.row("disk full during a save", "exit code", codes[0], said=said),
        record.row("disk full during a save, then room", "largest relative difference of an epoch's loss", far),
    ]


def overhead(shop: Shop, quick: bool) -> list[dict[str, Any]]:
    """Of saving by time, on a larger teacher: the time that steps wait, and all epochs against those never saved."""
    found = record.in_a_process("benchmarks.saves", "1" if quick else "3")
    return [
        record.row(f"teacher of {found['megabytes']:.0f} MB, saved every minute", unit, found[unit]) for unit in found
    ]


PARTS = {part.__name__: part for part in (sigkill, sigterm, sigstop, stages, meshes, damage, disk, overhead)}


def main() -> None:
    """Runs the parts and writes their rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer of each")
    parser.add_argument("--only", default=",".join(PARTS), help="which parts, with commas between them")
    parser.add_argument("--seed", type=int, default=0, help="of all random choices")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), flags.seed)
        print(f"straight run: {shop.seconds:.1f} s, stretches of {shop.steps} steps", flush=True)
        for name in flags.only.split(","):
            started = time.monotonic()
            rows += PARTS[name](shop, flags.quick)
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
            kept = [row for row in record.rows(flags.json) if row["case"] not in {one["case"] for one in rows}]
            record.write(flags.json, kept + rows, ("jax", "jaxlib", "orbax-checkpoint", "tensorstore"))
    for row in rows:
        print(f"{row['case']}: {row['ours']} {row['unit']}" + (f" of {row['of']}" if "of" in row else ""))


if __name__ == "__main__":
    main()
