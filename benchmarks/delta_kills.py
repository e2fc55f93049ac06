"""Delta exports whose writers are killed: make, apply and rollback, each at moments spread over all it does.

    python -m benchmarks.delta_kills [--moments 14] [--json FILE]

A writer is a process that counts what it does to files and kills itself (SIGKILL) before the n-th act. Then a reader
must find the export before or the one after, whole. The same command started again must end the work, with the same
files as a command that was not killed.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

import rexjax.cli.main  # noqa: F401 - before the forks, so that imports are no acts of a command
from benchmarks import record
from benchmarks.registry_kills import in_a_child
from rexjax.artifacts import lock
from rexjax.errors import UserError
from rexjax.serving import delta_folder, parts

OLD, NEW, DELTA, LIVE = "old", "new", "delta", "live"
_ITEMS = 500


def export(folder: Path, seed: int) -> None:
    """A small export whose rows, weights and items depend on the seed."""
    folder.mkdir()
    with lock.of(folder) as owner:
        parts.publish(folder, "x", partial(_write, seed), owner)


def _write(seed: int, place: Path) -> dict[str, Any]:
    rows = np.zeros((_ITEMS, 64), np.int8)
    rows[:9] = seed
    np.save(place / "rows.npy", rows)
    weights = {"scales": np.full((_ITEMS, 1), 1.0 + seed, np.float32)}
    safetensors.numpy.save_file(weights, place / "weights.safetensors", metadata={"rows": "items"})
    names = [str(item) for item in range(_ITEMS)]
    table = {"item_id": names, "title": names, "share": np.arange(_ITEMS) / (seed + 9)}
    pq.write_table(pa.table(table), place / "items.parquet")
    (place / "few.program").write_bytes(bytes([seed]) * 99)
    return {"format": 0, "index": str(seed)}


def prepare(folder: Path) -> None:
    """Two exports, the delta between them, and a folder that a server would read."""
    export(folder / OLD, 1), export(folder / NEW, 2)
    delta_folder.make(folder / OLD, folder / NEW, folder / DELTA)
    shutil.copytree(folder / OLD, folder / LIVE)


def make(folder: Path) -> None:
    """Makes another delta."""
    delta_folder.make(folder / OLD, folder / NEW, folder / LIVE / "made")


def apply(folder: Path) -> None:
    """Applies the delta."""
    delta_folder.apply(folder / LIVE, folder / DELTA)


def rollback(folder: Path) -> None:
    """Goes back to the export before, unless that was done."""
    if look(folder)[0] == content(folder / NEW):
        delta_folder.roll_back(folder / LIVE)


def content(folder: Path) -> str:
    """A digest of the export that counts, each file checked; of a delta likewise; "" where there is none."""
    try:
        return parts.reading(folder, _digest)
    except UserError:
        pass
    try:
        return _digest(delta_folder.read(folder))
    except UserError:
        return ""


def _digest(found: parts.Export | delta_folder.Delta) -> str:
    arrays = found.files if isinstance(found, parts.Export) else found.changes
    return hashlib.sha256(found.manifest + b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()


def look(folder: Path) -> tuple[str, str]:
    """The export that a server would read, and the delta that was made."""
    return content(folder / LIVE), content(folder / LIVE / "made")


COMMANDS: tuple[Callable[[Path], None], ...] = (make, apply, rollback)


def kill(base: Path, command: Callable[[Path], None], moment: int, straight: tuple[Any, Any]) -> str:
    """Kills ``command`` at a moment and runs it again; what was wrong."""
    folder = base.parent / "copy"
    shutil.copytree(base, folder)
    try:
        status, _ = in_a_child(partial(command, folder), folder / LIVE, moment)
        if not status:
            return "it was not killed"
        if look(folder) not in straight:
            return "neither the export before nor the one after"
        status, _ = in_a_child(partial(command, folder), folder / LIVE)
        if status:
            return "the same command failed"
        return "" if look(folder) == straight[1] else "the same command ended otherwise"
    finally:
        shutil.rmtree(folder)


def rows_of(base: Path, command: Callable[[Path], None], moments: int) -> dict[str, Any]:
    """Kills at moments spread evenly over the acts of a command."""
    if command is rollback:
        apply(base)
    before, folder = look(base), base.parent / "straight"
    shutil.copytree(base, folder)
    status, acts = in_a_child(partial(command, folder), folder / LIVE)
    if status:
        raise RuntimeError(f"{command.__name__} failed without a kill")
    straight = before, look(folder)
    shutil.rmtree(folder)
    chosen = sorted({int(number) for number in np.linspace(1, acts, moments).round()})
    found = [kill(base, command, moment, straight) for moment in chosen]
    for moment, wrong in zip(chosen, found, strict=True):
        print(f"{command.__name__}: killed before act {moment} of {acts}: {wrong or 'sound'}", flush=True)
    case = f"{command.__name__}, SIGKILL at {len(chosen)} of its {acts} acts on files"
    return record.row(
        case, "kills after which all was sound, and the same command ended the work", found.count(""), of=len(found)
    )


def main() -> None:
    """Runs all commands and writes their rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=14, help="of each command")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        base.mkdir()
        prepare(base)
        rows = [rows_of(base, command, flags.moments) for command in COMMANDS]
    record.write(flags.json, rows, ("numpy", "pyarrow"))
    sys.exit(any(row["ours"] != row["of"] for row in rows))


if __name__ == "__main__":
    main()
