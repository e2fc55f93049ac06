"""Artifacts: what finished stages left, with manifests that say what is in them and from what they were made.

An artifact lies in ``WORKDIR/STAGE``, in the newest of its versions (``rexjax.artifacts.versions``). ``manifest.json``
is written last and as a whole; ``started.json`` of a version without one says for which inputs a stage worked there, so
that it goes on only where it may.
"""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rexjax.artifacts import owned, versions
from rexjax.artifacts.files import file_hash, read_json, write_json
from rexjax.artifacts.hashing import digest
from rexjax.artifacts.owned import MANIFEST, MARK, NOTES, STARTED
from rexjax.artifacts.versions import NOBODY, Owner
from rexjax.errors import UserError

FORMAT = 3
"""Of workdirs; 2 had one folder for each stage, 1 other stages and keys."""
CONFIG_FILES = "config_files"
"""Folder of a workdir with copies of the config files that define classes."""
_PACKAGES = ("rexjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets", "duckdb")
_TRIES = 10  # of a reader whose version is replaced again and again

T = TypeVar("T")


class Artifact(NamedTuple):
    """A finished stage's folder (of one version) and its manifest."""

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


def stage_key(
    stage: str, config: Any, inputs: dict[str, Artifact], external: dict[str, str], versions: dict[str, str]
) -> str:
    """The identity of a stage's result: its config, the content of its input artifacts and of the files it reads, and
    the versions of the packages that compute it."""
    parts = {"format": FORMAT, "stage": stage, "config": config, "external": external, "versions": versions}
    return digest(parts | {"inputs": {name: artifact.hash for name, artifact in inputs.items()}})


def config_files(folder: Path) -> Path:
    """The workdir's copies of config files, for the artifact ``folder``."""
    return folder.parent.parent / CONFIG_FILES


def finish(
    folder: Path,
    key: str,
    *,
    content: dict[str, str],
    seconds: float,
    config: Any,
    metrics: dict[str, Any],
    external: dict[str, str] | None = None,
    owner: Owner = NOBODY,
) -> Artifact:
    """Writes the manifest, which makes the version finished and the newest; removes versions that are older than two.

    Args:
        folder: where the stage wrote its files (``versions.begin``).
        key: the stage's key.
        content: digests of what files or folders below it hold, by name, where their bytes are not the same every time
            (checkpoints and record files hold the time of day); all others count by their bytes, logs not at all.
        seconds: how long the stage took.
        config: the part of the config it depends on.
        metrics: what it reports.
        external: hashes of the files outside the workdir that it read.
        owner: the run.

    Raises:
        UserError: another run owns the workdir by now; nothing is published.
    """
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in NOTES)
    files = {str(p.relative_to(folder)): [p.stat().st_size, file_hash(p)] for p in paths}
    plain = {name: entry[1] for name, entry in files.items() if not _counted_otherwise(name, content)}
    manifest = MARK | {
        "key": key,
        "hash": digest({"files": plain, "content": content}),
        "config": config,
        "config_hash": digest(config),
        "seconds": round(seconds, 2),
        "versions": packages(),
        "metrics": metrics,
        "external": external or {},
        "files": files,
    }
    owner.confirm()
    write_json(folder / MANIFEST, manifest)
    (folder / STARTED).unlink(missing_ok=True)
    versions.remove_older(folder)
    return Artifact(folder, manifest)


def _counted_otherwise(name: str, content: dict[str, str]) -> bool:
    logs = name.endswith(".jsonl") or "/events." in name
    return logs or any(name == known or name.startswith(f"{known}/") for known in content)


def find(place: Path) -> Artifact:
    """The newest finished version in ``place`` (``WORKDIR/STAGE``); its files are not looked at.

    Raises:
        UserError: the stage has not finished, or its manifest is damaged.
    """
    return reading(place, _itself)


def read(place: Path) -> Artifact:
    """The newest finished version in ``place``, each file checked against the manifest.

    Raises:
        UserError: the stage has not finished, or a file is missing or altered; the message names it.
    """
    return reading(place, check_files)


def reading(place: Path, use: Callable[[Artifact], T]) -> T:
    """``use(artifact)`` of the newest finished version; again where a newer one was published meanwhile.

    Args:
        place: ``WORKDIR/STAGE``.
        use: reads files of the version, which vanish when a second newer one is published.

    Raises:
        UserError: the stage has not finished, or its manifest is damaged.
        Exception: what ``use`` raises of the version that is still the newest.
    """
    for last in (*[False] * (_TRIES - 1), True):
        before = versions.state(place)
        try:
            return use(_newest(place))
        except Exception:
            if last or versions.state(place) == before:
                raise
    raise AssertionError("unreachable")


def _itself(artifact: Artifact) -> Artifact:
    return artifact


def _newest(place: Path) -> Artifact:
    again = f"run `rexjax {place.name} CONFIG`"
    for folder in versions.versions(place):
        if not versions.is_finished(folder):
            if owned.is_foreign(folder):
                raise UserError(f"{folder / MANIFEST} is missing from a finished artifact: {again} to make it again")
            continue
        manifest = read_json(folder / MANIFEST)
        if not owned.is_marked(manifest) or not {"key", "hash", "metrics", "files"} <= manifest.keys():
            raise UserError(f"{folder / MANIFEST} is damaged: {again} to make it again")
        return Artifact(folder, manifest)
    if not place.parent.is_dir():
        raise UserError(f"there is no workdir {place.parent}: name the one that `rexjax run CONFIG` wrote")
    raise UserError(f"stage '{place.name}' has not finished in {place.parent}: {again} first")


def check_files(artifact: Artifact) -> Artifact:
    """The artifact, each file compared with the manifest.

    Raises:
        UserError: a file is missing or altered; the message names it.
    """
    folder = artifact.folder
    again = f"run `rexjax {folder.parent.name} CONFIG` to make it again"
    for name, (size, sha256) in artifact.manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing from a finished artifact: {again}")
        if path.stat().st_size != size or file_hash(path) != sha256:
            raise UserError(f"{path} is damaged ({path.stat().st_size} bytes, {size} when written): {again}")
    return artifact


def packages(names: tuple[str, ...] = _PACKAGES) -> dict[str, str]:
    """Versions of installed packages; by default of those on which results depend."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
