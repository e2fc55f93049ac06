"""What a version holds, from a finished workdir or from a folder that already looks like a version."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts import store, versions, workdirs
from rexjax.artifacts.files import file_hash, read_json, write_json
from rexjax.artifacts.hashing import digest
from rexjax.artifacts.owned import is_marked
from rexjax.artifacts.store import Artifact
from rexjax.errors import UserError
from rexjax.registry import disk
from rexjax.registry.versions import EXPORT, LINEAGE, Version

DATA_CARD = "card.json"
_NEEDED = (workdirs.CONFIG, workdirs.METRICS)
_STAGES = "prepare", "evaluate"


class Content(NamedTuple):
    """What is to become a version."""

    hash: str
    """Digest: equal for equal content."""
    config: dict[str, Any]
    """As plain values."""
    metrics: dict[str, Any]
    """As in ``metrics.json``."""
    write: Callable[[Path], None]
    """Writes its files into a folder."""


def of(folder: Path, sign: Path | None = None) -> Content:
    """The content of a finished workdir, or of a folder with ``config.json``, ``metrics.json`` and what else is there.

    Args:
        folder: the workdir or the folder.
        sign: a file with the private key that signs the export of a workdir.

    Raises:
        UserError: it is neither, or a stage has not finished.
    """
    config = read_json(folder / workdirs.CONFIG)
    if is_marked(config) and "format" in config:
        return _of_workdir(folder, sign)
    if missing := [name for name in _NEEDED if not (folder / name).is_file()]:
        raise UserError(
            f"{folder} is neither a workdir nor a prepared version, for it has no {' and no '.join(missing)}: run "
            f"`rexjax run CONFIG --workdir {folder}` first"
        )
    metrics = read_json(folder / workdirs.METRICS)
    return Content(file_hash(folder), config, metrics, partial(disk.copy, folder))


def summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures of what is served.

    Args:
        metrics: as in ``metrics.json``.

    Raises:
        UserError: they lack what a version is known by.
    """
    try:
        served = metrics["models"][metrics["served"]]
        select = metrics["select"]
        return {
            "metric": select,
            "served": metrics["served"],
            "test": metrics["test"],
            "quality": served["quality"]["test"],
            "interval": served.get("interval", {}).get(select),
            "cost": served["cost"],
            "calibration": served.get("calibration"),
        }
    except (KeyError, TypeError) as error:
        raise UserError(f"metrics.json lacks {error}: add a workdir that `rexjax run` has finished") from error


def name_parent(place: Path, parent: Version | None) -> None:
    """Writes the parent's id and key into the lineage of the version in ``place``."""
    about = {"parent": parent.id, "parent_key": parent.key} if parent else {"parent": None}
    write_json(place / LINEAGE, about | read_json(place / LINEAGE))


def _of_workdir(workdir: Path, sign: Path | None) -> Content:
    config = workdirs.read_config(workdir)
    artifacts = {name: store.read(workdir / name) for name in _STAGES}
    found = _stages(workdir)
    inputs = {name: sha256 for stage in found.values() for name, sha256 in stage["external"].items()}
    about = {
        "workdir": str(workdir.absolute()),
        "stages": found,
        "inputs": inputs,
        "packages": store.packages(),
        "seconds": sum(stage["seconds"] for stage in found.values()),
    }
    write = partial(_write_workdir, workdir, config, artifacts, about, sign)
    return Content(_hash(found), config, artifacts["evaluate"].metrics, write)


def _stages(workdir: Path) -> dict[str, dict[str, Any]]:
    """Key, hash, seconds and outside files of each finished stage."""
    places = [place for place in disk.folders(workdir) if any(map(versions.is_finished, versions.versions(place)))]
    manifests = {place.name: store.find(place).manifest for place in places}
    kept = "key", "hash", "seconds"
    return {
        name: {key: about[key] for key in kept} | {"external": about.get("external", {})}
        for name, about in manifests.items()
    }


def _hash(stages: dict[str, dict[str, Any]]) -> str:
    return digest({name: stage["hash"] for name, stage in stages.items()})


def _write_workdir(
    workdir: Path,
    config: dict[str, Any],
    artifacts: dict[str, Artifact],
    about: dict[str, Any],
    sign: Path | None,
    place: Path,
) -> None:
    from rexjax.serving import export

    write_json(place / workdirs.CONFIG, config)
    write_json(place / DATA_CARD, artifacts["prepare"].metrics)
    write_json(place / LINEAGE, about)
    for name in (workdirs.METRICS, workdirs.PER_USER, workdirs.SEGMENTS):
        if (artifacts["evaluate"].folder / name).exists():
            disk.copy(artifacts["evaluate"].folder / name, place / name)
    if (workdir / store.CONFIG_FILES).is_dir():
        disk.copy(workdir / store.CONFIG_FILES, place / store.CONFIG_FILES)
    export.write(workdir, place / EXPORT, sign=sign)
    disk.remove(place / EXPORT / "lock.json")  # of the export, which has ended
    if _stages(workdir) != about["stages"]:
        raise UserError(f"{workdir} was run again while it was added: add it again when the run has ended")
