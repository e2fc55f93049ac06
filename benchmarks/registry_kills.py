"""A registry whose writers are killed: add, promote, rollback and prune, each at moments spread over all it does.

    python -m benchmarks.registry_kills [--moments 10] [--json FILE]

A writer is a process that counts what it does to files and kills itself (SIGKILL) before the n-th act. Then readers
look: there is one champion, the old or the new one; every listed version is whole; the folder that a server reads is a
whole export. Then the same command runs again, and the registry must be as after a run that was left alone.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import record
from rexjax.artifacts import lock, owned
from rexjax.artifacts.files import read_json
from rexjax.errors import UserError
from rexjax.evaluation.gate import Decision
from rexjax.registry import Comparison, Registry
from rexjax.serving import parts

ACTS = "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.copyfile", "shutil.rmtree"
"""Audit events of Python that are counted, where they name something of the registry."""
CONFIG = {
    "data": {"source": {"class": "rexjax.data.sources:Shop"}, "split": "leave_one_out"},
    "evaluate": {"select": "ndcg@10", "exclude_seen": True},
}
FAILURES = "two champions", "half a version", "half an export", "another end", "stuck"


class Look(NamedTuple):
    """What readers see; versions are told apart by their notes."""

    champion: str
    challenger: str
    alive: tuple[str, ...]
    actions: tuple[str, ...]


def prepared(folder: Path, note: str) -> Path:
    """A folder that may become a version, with an export of a few files."""
    place = folder / f"prepared-{note}"
    served = {"quality": {"test": {"ndcg@10": 0.5}}, "cost": {"flops_per_request": 1.0}}
    metrics = {"select": "ndcg@10", "served": "student", "test": "one", "models": {"student": served}}
    (place / "export").mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "metrics.json").write_text(json.dumps(metrics))
    np.savez(place / "per_user.npz", **{"student/ndcg@10": np.full(20, 0.5, np.float32)})

    def write(parts_folder: Path) -> dict[str, Any]:
        for number in range(3):
            (parts_folder / f"part{number}").write_text(note * 100)
        return {"format": 0, "note": note}

    with lock.of(place / "export") as owner:
        parts.publish(place / "export", note, write, owner)
    (place / "export" / lock.NAME).unlink()
    return place


def base(folder: Path) -> Path:
    """A registry with champions a, b and c one after another, and the challenger d."""
    registry = Registry.create(folder / "base", CONFIG)
    for note in "abcd":
        version = registry.add(prepared(folder, note), note=note)
        if note != "d":
            registry.promote(version.id, force="a demonstration")
    prepared(folder, "e")
    return registry.path


def add(folder: Path, registry: Registry) -> None:
    """Adds e."""
    registry.add(folder / "prepared-e", note="e")


def promote(folder: Path, registry: Registry) -> None:
    """Promotes d, which has passed the gate."""
    named = {version.note: version.id for version in registry.versions()}
    registry.promote(named["d"], Comparison(named["c"], named["d"], Decision(True, ("It is better.",), {})))


def rollback(folder: Path, registry: Registry) -> None:
    """Goes back to b."""
    registry.rollback()


def prune(folder: Path, registry: Registry) -> None:
    """Removes a and b."""
    registry.prune(keep=0)


COMMANDS: tuple[Callable[[Path, Registry], None], ...] = (add, promote, rollback, prune)


def in_a_child(act: Callable[[], None], path: Path, dies_at: int = 0) -> tuple[int, int]:
    """Runs ``act`` in a process that is killed before act number ``dies_at``; its exit status and the acts it made."""
    reads, writes = os.pipe()
    process = os.fork()
    if not process:
        count = 0

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event in ACTS and any(
                isinstance(one, str) and one.startswith(str(path)) for one in map(_text, arguments)
            ):
                count += 1
                if count == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.addaudithook(audit)
            act()
            code = 0
        except UserError as error:
            print(error, file=sys.stderr, flush=True)
        except Exception:
            traceback.print_exc()
        finally:
            os.write(writes, str(count).encode())
            os._exit(code)
    os.close(writes)
    _, status = os.waitpid(process, 0)
    with os.fdopen(reads) as pipe:
        return status, int(pipe.read() or 0)


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def look(path: Path) -> tuple[Look, list[str]]:
    """What readers see, and what is wrong with it."""
    registry, wrong = Registry.open(path), []
    state, notes = registry.state, {}
    for version in registry.versions():
        notes[version.id] = version.note
        try:
            version.check()
        except UserError as error:
            wrong.append(f"half a version: {error}")
    if len(glimpse := {state.champion, registry.state.champion}) != 1 or state.champion not in notes:
        wrong.append(f"two champions: {glimpse}")
    try:
        parts.reading(path / "champion", _one_note)
    except (UserError, ValueError) as error:
        wrong.append(f"half an export: {error}")
    names = (notes.get(state.champion, ""), notes.get(state.challenger, ""))
    alive = tuple(sorted(notes.values()))
    return Look(*names, alive, tuple(event.action for event in state.events)), wrong


def _one_note(export: parts.Export) -> None:
    texts = {content.tobytes().decode() for content in export.files.values()}
    if texts != {export.about["note"] * 100}:
        raise ValueError(f"{export.folder} has parts of several versions")


def leftovers(path: Path) -> list[str]:
    """What is left that no reader knows, and what the alias should be."""
    registry = Registry.open(path)
    folders = {folder.name for folder in (path / "versions").iterdir()}
    left = sorted(folders - set(registry.state.alive))
    champion = registry.champion
    expected = champion.note if champion else None
    found = read_json(path / "champion" / "bundle.json").get("note")
    stray = [str(file) for file in path.rglob(f"*{owned.STARTED}*")]
    return left + stray + ([] if found == expected else [f"the folder champion holds {found}, not {expected}"])


def kill(
    folder: Path, command: Callable[[Path, Registry], None], moment: int, straight: tuple[Look, Look]
) -> list[str]:
    """Kills ``command`` at a moment and runs it again; what was wrong."""
    path = folder / "copy"
    shutil.copytree(folder / "base", path)
    act = partial(command, folder, Registry(path))
    status, _ = in_a_child(act, path, moment)
    if not os.WIFSIGNALED(status):
        return [f"another end: {command.__name__} was not killed at moment {moment}"]
    seen, wrong = look(path)
    if seen not in straight:
        wrong.append(f"two champions: {seen} is neither {straight[0]} nor {straight[1]}")
    status, _ = in_a_child(act, path)
    if status:
        wrong.append(f"stuck: {command.__name__} ended with {os.waitstatus_to_exitcode(status)}")
    seen, more = look(path)
    if seen != straight[1]:
        wrong.append(f"another end: {seen} and not {straight[1]}")
    wrong += more + [f"another end: {what}" for what in leftovers(path)]
    shutil.rmtree(path)
    return wrong


def rows_of(folder: Path, command: Callable[[Path, Registry], None], moments: int) -> list[dict[str, Any]]:
    """Kills at moments spread evenly over the acts of a command."""
    before, path = look(folder / "base")[0], folder / "straight"
    shutil.copytree(folder / "base", path)
    status, acts = in_a_child(partial(command, folder, Registry(path)), path)
    if status:
        raise RuntimeError(f"{command.__name__} failed without a kill")
    straight = before, look(path)[0]
    shutil.rmtree(path)
    chosen = sorted({int(number) for number in np.linspace(1, acts, moments).round()})
    found = [kill(folder, command, moment, straight) for moment in chosen]
    for moment, wrong in zip(chosen, found, strict=True):
        print(f"{command.__name__}: killed before act {moment} of {acts}: {wrong or 'sound'}", flush=True)
    case = f"{command.__name__}, SIGKILL at {len(chosen)} of its {acts} acts on files"
    counts = {kind: sum(line.startswith(kind) for wrong in found for line in wrong) for kind in FAILURES}
    sound = sum(not wrong for wrong in found)
    rows = [
        record.row(case, "kills after which all was sound, and the same command ended the work", sound, of=len(found))
    ]
    return rows + [record.row(case, kind, count) for kind, count in counts.items()]


def main() -> None:
    """Runs all commands and writes their rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=10, help="of each command")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base(folder)
        rows = [row for command in COMMANDS for row in rows_of(folder, command, flags.moments)]
    record.write(flags.json, rows, ("numpy",))
    for row in rows:
        if "of" in row or row["ours"]:
            print(f"{row['case']}: {row['ours']} {row['unit']}" + (f" of {row['of']}" if "of" in row else ""))
    sys.exit(any(row["ours"] for row in rows if row["unit"] in FAILURES))


if __name__ == "__main__":
    main()
