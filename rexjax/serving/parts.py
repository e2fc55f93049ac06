"""The folder of an export: parts in a folder of their own, and ``bundle.json``, which says which parts hold.

An export is published by one file that is put in place whole. The parts before are kept for slow readers.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from rexjax.artifacts import lock, owned
from rexjax.artifacts.files import file_hash, json_bytes, parse_json, read_json, write_json
from rexjax.artifacts.versions import Owner
from rexjax.errors import UserError
from rexjax.serving import sealed

BUNDLE = "bundle.json"
SIGNATURE = "signature"
"""The file in a folder of parts that signs ``bundle.json``."""
PARTS = "parts-"
"""What the names of the folders with parts begin with."""

T = TypeVar("T")


def publish(
    folder: Path,
    name: str,
    write: Callable[[Path], dict[str, Any]],
    owner: Owner,
    sign: Callable[[bytes], bytes] | None = None,
) -> dict[str, Any]:
    """Writes parts, and then the file that names them.

    Args:
        folder: of the export, which ``owner`` holds.
        name: of what is exported, in the name of the parts.
        write: writes files into the folder it is given, and returns what ``bundle.json`` is to say of them.
        owner: the export.
        sign: makes the content of the file ``signature`` of ``bundle.json``; None: the export is not signed.

    Returns:
        ``bundle.json``.

    Raises:
        UserError: another export holds the folder by now: nothing is published, or what that one has published is
            put back.
    """
    place = folder / f"{PARTS}{name}-{time.time_ns()}"
    owned.make(place, token=owner.token)
    about = write(place)
    hashes = {path.name: file_hash(path) for path in sorted(place.iterdir()) if path.name not in owned.NOTES}
    found = owned.MARK | about | {"place": place.name, "files": hashes}
    if sign:
        (place / SIGNATURE).write_bytes(sign(json_bytes(found)))
    _name(folder, found, owner)
    return found


def publish_copy(folder: Path, export: "Export", signature: bytes, owner: Owner) -> None:
    """Writes an export that was made elsewhere, byte for byte, and then the file that names its parts.

    Parts that are there already, whole or in part, are completed.

    Args:
        folder: of the export, which ``owner`` holds.
        export: ``bundle.json`` and the files that it names.
        signature: the content of the file ``signature``; b"": the export is not signed.
        owner: the export.

    Raises:
        UserError: as ``publish``, or something that is not ours stands where the parts go.
    """
    place, files = folder / export.about["place"], dict(export.files)
    if signature:
        files[SIGNATURE] = np.frombuffer(signature, np.uint8)
    if not (place / owned.MANIFEST).is_file() or owned.is_foreign(place):
        owned.make(place, token=owner.token)
    for name, content in files.items():
        if not (place / name).is_file() or file_hash(place / name) != hashlib.sha256(content).hexdigest():
            (place / name).write_bytes(content)
    _name(folder, export.about, owner)


def earlier(folder: Path) -> dict[str, Any]:
    """``bundle.json`` of the latest export before the one that counts, of those whose parts are kept; {}: none is."""
    now = _moment(folder / str(read_json(folder / BUNDLE).get("place", "")))
    before = [place for place in folder.glob(f"{PARTS}*") if _moment(place) < now]
    manifests = [read_json(place / owned.MANIFEST) for place in sorted(before, key=_moment, reverse=True)]
    return next((found["bundle"] for found in manifests if "bundle" in found), {})


def switch(folder: Path, about: dict[str, Any], owner: Owner) -> None:
    """Makes the export ``about``, whose parts are in ``folder``, the one that counts; removes nothing.

    Raises:
        UserError: another export holds the folder by now.
    """
    _finish(folder, about, owner)
    write_json(folder / BUNDLE, about)
    owner.confirm()


def _name(folder: Path, found: dict[str, Any], owner: Owner) -> None:
    """Publishes parts whose files are written, and removes those that are older than the ones before."""
    last = read_json(folder / BUNDLE).get("place")
    _finish(folder, found, owner)
    write_json(folder / BUNDLE, found)  # from here on, and not before, the folder holds the new one
    try:
        owner.confirm()
    except UserError:  # another took the folder since the look before
        _give_way(folder, owner)
        raise
    _remove_others(folder, {found["place"], last}, owner)


def _finish(folder: Path, found: dict[str, Any], owner: Owner) -> None:
    """Writes the manifest of parts, with the token of their owner."""
    place, hashes = folder / found["place"], dict(found["files"])
    if (place / SIGNATURE).is_file():
        hashes[SIGNATURE] = file_hash(place / SIGNATURE)
    files = {name: [(place / name).stat().st_size, sha256] for name, sha256 in hashes.items()}
    owner.confirm()
    write_json(place / owned.MANIFEST, owned.MARK | {"files": files, "token": owner.token, "bundle": found})
    (place / owned.STARTED).unlink(missing_ok=True)


def _give_way(folder: Path, owner: Owner) -> None:
    """Puts back what an owner with a greater token has published, until that is what the folder holds."""
    while (newest := _newest(folder)).get("token", 0) > owner.token:
        if read_json(folder / BUNDLE) == newest["bundle"]:
            return
        write_json(folder / BUNDLE, newest["bundle"])


def _newest(folder: Path) -> dict[str, Any]:
    """The manifest of the finished parts with the greatest token; of equal tokens the latest."""
    manifests = [
        read_json(place / owned.MANIFEST) for place in sorted(folder.glob(f"{PARTS}*"), key=_moment, reverse=True)
    ]
    return max((found for found in manifests if "bundle" in found), key=_token, default={})


def _moment(place: Path) -> str:
    return place.name.rpartition("-")[2]


def _token(manifest: dict[str, Any]) -> int:
    return int(manifest.get("token", 0))


def _remove_others(folder: Path, kept: set[str | None], owner: Owner) -> None:
    for parts in folder.glob(f"{PARTS}*"):
        manifest = read_json(parts / owned.MANIFEST)
        sleeps = not owner.alone and _token(manifest) < owner.token  # who wrote them may be about to name them
        if parts.name in kept or sleeps or _token(manifest) > owner.token:
            continue
        if manifest:
            owned.remove_finished(parts)
        elif owner.alone:
            owned.remove_unfinished(parts)


def is_foreign(folder: Path) -> bool:
    """Whether ``folder`` holds what no export has written."""
    if os.path.lexists(folder / BUNDLE):
        return not _is_bundle(read_json(folder / BUNDLE))
    if not folder.exists():
        return False
    inside = [path for path in folder.iterdir() if not path.name.startswith(lock.NAME)]
    return any(not path.name.startswith(PARTS) or owned.is_foreign(path) for path in inside)


def _is_bundle(about: dict[str, Any]) -> bool:
    return {"format", "place", "files"} <= about.keys() and isinstance(about["files"], dict)


class Export(NamedTuple):
    """One export, as it was read."""

    folder: Path
    manifest: bytes
    """``bundle.json``."""
    about: dict[str, Any]
    """The same, parsed."""
    files: dict[str, np.ndarray]
    """Private copies of the files that it names, uint8, checked against their hashes."""


def reading(
    folder: Path,
    use: Callable[[Export], T],
    manifest: bytes | None = None,
    verify: Callable[[Path, bytes], None] = lambda place, manifest: None,
) -> T:
    """``use(export)`` of the newest export, each file checked; again where a newer one was published meanwhile.

    Args:
        folder: of the export.
        use: may fail.
        manifest: ``bundle.json`` of the export that is meant; None: the newest.
        verify: raises where the parts' folder holds no signature of ``bundle.json`` that is trusted.

    Raises:
        UserError: there is none, it is not trusted, or a file is missing or altered.
    """
    held = read_manifest(folder) if manifest is None else manifest
    while True:
        try:
            return use(_sealed(folder, held, verify))
        except Exception:  # its files are gone, or damaged
            before, held = held, read_manifest(folder) if manifest is None else held
            if held == before:
                raise


def read_manifest(folder: Path) -> bytes:
    """``bundle.json``, read once; b"" while there is none that can be read."""
    try:
        return sealed.read_file((folder / BUNDLE).resolve())[0].tobytes()
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return b""


def _sealed(folder: Path, manifest: bytes, verify: Callable[[Path, bytes], None]) -> Export:
    about = trusted(folder, manifest, verify)
    return Export(folder, manifest, about, sealed.read_all(folder / about["place"], about["files"]))


def trusted(folder: Path, manifest: bytes, verify: Callable[[Path, bytes], None]) -> dict[str, Any]:
    """``bundle.json``, parsed, of which ``verify`` has found the signature; nothing else was read of the export.

    Raises:
        UserError: it is no manifest of an export, or not trusted.
    """
    about = parse_json(manifest)
    if not _is_bundle(about):
        raise UserError(f"{folder} is no finished export: make one with `rexjax export WORKDIR {folder}`")
    if not sealed.is_plain(about["place"]):
        raise UserError(f"{folder / BUNDLE} names the folder {about['place']!r}, which is no plain name")
    verify(folder / about["place"], manifest)
    return about
