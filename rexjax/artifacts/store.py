"""Artifacts: one folder for each finished stage, with a manifest that says what is in it and from what it was made.

``manifest.json`` is written last and atomically. A folder without one belongs to a stage that was cut off; its
``started.json`` says for which inputs, so that the stage goes on only where it may.
"""

import json
import os
import shutil
import time
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts.files import file_hash
from rexjax.artifacts.hashing import differences, digest
from rexjax.errors import UserError

FORMAT = 2
"""Of workdirs; 1 had other stages and keys."""
CONFIG_FILES = "config_files"
"""Folder of a workdir with copies of the config files that define classes."""
_PACKAGES = ("rexjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets", "duckdb")


class Artifact(NamedTuple):
    """A finished stage's folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def metrics(self) -> dict[str, Any]:
        """What the stage reported."""
        return self.manifest["metrics"]

    @property
    def hash(self) -> str:
        """Content hash: equal for equal results, whenever and wherever they were computed."""
        return self.manifest["hash"]


def stage_key(stage: str, config: Any, inputs: dict[str, Artifact], external: dict[str, str]) -> str:
    """The identity of a stage's result: its config, the content of its input artifacts and of the files it reads."""
    parts = {"format": FORMAT, "stage": stage, "config": config, "external": external}
    return digest(parts | {"inputs": {name: artifact.hash for name, artifact in inputs.items()}})


def unfinished(folder: Path) -> Path:
    """Where the stage of the artifact ``folder`` works; an older artifact stays whole until it has finished."""
    return folder.parent / "unfinished" / folder.name


def publish(folder: Path) -> None:
    """Puts a finished stage's work in the place of the artifact ``folder``; without finished work, does nothing."""
    work = unfinished(folder)
    if (work / "manifest.json").exists():
        before = work.with_name(f"{work.name}.before")
        shutil.rmtree(before, ignore_errors=True)
        if folder.exists():
            os.replace(folder, before)
        os.replace(work, folder)
        shutil.rmtree(before, ignore_errors=True)


def begin(folder: Path, key: str) -> None:
    """Opens ``folder`` for the stage ``key``: keeps what an interrupted run of the same key left, removes the rest."""
    started = folder / "started.json"
    if folder.exists() and _read_json(started).get("key") != key:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(started, {"key": key, "time": time.time()})


def finish(
    folder: Path, key: str, *, content: dict[str, str], seconds: float, config: Any, metrics: dict[str, Any]
) -> Artifact:
    """Writes the manifest, which makes the artifact finished.

    Args:
        folder: where the stage wrote its files.
        key: the stage's key.
        content: digests of what files or folders below it hold, by name, where their bytes are not the same every time
            (checkpoints and record files hold the time of day); all others count by their bytes, logs not at all.
        seconds: how long the stage took.
        config: the part of the config it depends on.
        metrics: what it reports.
    """
    (folder / "started.json").unlink(missing_ok=True)
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    files = {str(p.relative_to(folder)): [p.stat().st_size, file_hash(p)] for p in paths}
    plain = {name: entry[1] for name, entry in files.items() if not _counted_otherwise(name, content)}
    manifest = {
        "key": key,
        "hash": digest({"files": plain, "content": content}),
        "config": config,
        "config_hash": digest(config),
        "seconds": round(seconds, 2),
        "versions": versions(),
        "metrics": metrics,
        "files": files,
    }
    write_json(folder / "manifest.json", manifest)
    return Artifact(folder, manifest)


def _counted_otherwise(name: str, content: dict[str, str]) -> bool:
    logs = name.endswith(".jsonl") or "/events." in name
    return logs or any(name == known or name.startswith(f"{known}/") for known in content)


def read(folder: Path) -> Artifact:
    """A finished artifact, each file checked against the manifest.

    Raises:
        UserError: the stage has not finished, or a file is missing or altered; the message names it.
    """
    stage = folder.name
    if not folder.exists():
        publish(folder)  # of a run that was killed within it
    manifest = _read_json(folder / "manifest.json")
    if not {"key", "hash", "metrics", "files"} <= manifest.keys():
        raise UserError(f"stage '{stage}' has not finished in {folder.parent}: run `rexjax {stage} CONFIG` first")
    for name, (size, sha256) in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing from a finished artifact: run `rexjax {stage} CONFIG` to make it again")
        if path.stat().st_size != size or file_hash(path) != sha256:
            raise UserError(
                f"{path} is damaged ({path.stat().st_size} bytes, {size} when written): "
                f"run `rexjax {stage} CONFIG` to make it again"
            )
    return Artifact(folder, manifest)


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(temporary, path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def claim_workdir(workdir: Path, config: dict[str, Any], *, update: bool) -> list[str]:
    """Ties ``workdir`` to ``config``; returns the keys that changed since its last run.

    Raises:
        UserError: a stage has finished there with another config, and ``update`` is false; or its path holds a ``[``,
            which Orbax takes for a pattern when it reads a checkpoint back.
    """
    if "[" in str(workdir.absolute()):
        raise UserError(f"{workdir.absolute()} has a [, which checkpoints cannot bear: choose another --workdir")
    path = workdir / "config.json"
    old = _read_json(path)
    check_format(workdir, old)
    config = {"format": FORMAT} | config
    changed = differences(old, config) if old else []
    if changed and not update and any(workdir.glob("*/manifest.json")):
        shown = "; ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise UserError(
            f"{workdir} belongs to another config ({shown}): choose another --workdir, or pass --update to make its "
            "stages again where they are affected"
        )
    if old != config:
        write_json(path, config)
    return changed


def read_config(workdir: Path) -> dict[str, Any]:
    """The config, as plain values, that ``workdir`` was last run with.

    Raises:
        UserError: it is no workdir, or one of another version.
    """
    config = _read_json(workdir / "config.json")
    if not config:
        raise UserError(
            f"{workdir} is no workdir, for it has no config.json: run `rexjax run CONFIG --workdir {workdir}`"
        )
    check_format(workdir, config)
    return {name: value for name, value in config.items() if name != "format"}


def check_format(workdir: Path, config: dict[str, Any]) -> None:
    """Raises ``UserError`` if the workdir with this ``config.json`` was made by another version."""
    if config and config.get("format") != FORMAT and any(workdir.glob("*/manifest.json")):
        raise UserError(
            f"{workdir} was made by another version of rexjax, whose stages are not read: choose another --workdir, or "
            "remove its stages' folders to make them again"
        )


def versions() -> dict[str, str]:
    """Of the packages on which results depend."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
