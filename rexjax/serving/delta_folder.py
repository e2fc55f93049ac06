"""Delta exports as folders: made between two exports, applied to the older one, and taken back.

A delta holds the new export's ``bundle.json`` and signature as they are, and what turns the old files into the new
ones. What is applied is therefore a whole export: a server checks it, trusts it and swaps it in as any other.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.numpy

from rexjax.artifacts import lock, owned
from rexjax.artifacts.files import file_hash, json_bytes, parse_json, read_json, write_json
from rexjax.errors import UserError
from rexjax.serving import delta, parts, sealed
from rexjax.serving.delta_arrays import Changes
from rexjax.serving.parts import Export

FORMAT = 1
CHANGES = "changes.safetensors"
"""The file in a delta that holds all arrays."""
_SHORT = 12


class Delta(NamedTuple):
    """A delta, as it was read."""

    folder: Path
    parent: str
    """SHA-256 of the ``bundle.json`` that it was made from."""
    manifest: bytes
    """The new ``bundle.json``."""
    signature: bytes
    """Of the new export; b"": it has none."""
    changes: Changes
    """Of ``delta.difference``."""


def make(old: Path, new: Path, folder: Path) -> dict[str, Any]:
    """Writes what turns the export in ``old`` into that in ``new``.

    Args:
        old: folder of an export.
        new: likewise.
        folder: where to: a new folder, or one where this was cut off. A finished delta of the same exports stays.

    Returns:
        The delta's manifest: ``parent`` and ``result`` (SHA-256 of both ``bundle.json``), ``changed`` (rows by array),
        ``bytes`` (of the delta and of the whole export), ``files``.

    Raises:
        UserError: either is no sound export, both are the same, or ``folder`` holds something else.
    """
    before, (after, signature) = parts.reading(old, _export), parts.reading(new, _signed)
    if before.manifest == after.manifest:
        raise UserError(f"{old} and {new} hold the same export: there is no difference to write")
    if (folder / owned.MANIFEST).exists():
        return _made_already(folder, before, after)
    owned.make(folder)
    owned.remove_unfinished(folder)
    owned.make(folder)
    changes = delta.difference(before.files, after.files)
    safetensors.numpy.save_file(changes, folder / CHANGES)
    (folder / parts.BUNDLE).write_bytes(after.manifest)
    if signature:
        (folder / parts.SIGNATURE).write_bytes(signature)
    return _publish(folder, before, after, changes)


def read(folder: Path) -> Delta:
    """Reads a delta, each file checked against its hash.

    Raises:
        UserError: it is no finished delta, of another format, or a file is missing or altered.
    """
    about = read_json(folder / owned.MANIFEST)
    if not owned.is_marked(about) or not about.keys() >= {"delta", "parent", "result", "files"}:
        raise UserError(f"{folder} is no finished delta: make one with `rexjax delta make OLD NEW {folder}`")
    if about["delta"] != FORMAT:
        raise UserError(
            f"{folder} is a delta of format {about['delta']}, and this version reads {FORMAT}: make it again"
        )
    files = {name: _checked(folder / name, found[1]) for name, found in about["files"].items() if sealed.is_plain(name)}
    manifest = files.get(parts.BUNDLE, b"")
    if _hash(manifest) != about["result"] or json_bytes(parse_json(manifest)) != manifest or CHANGES not in files:
        raise UserError(f"{folder} is damaged: copy the delta again")
    changes = safetensors.numpy.load(files[CHANGES])
    return Delta(folder, about["parent"], manifest, files.get(parts.SIGNATURE, b""), changes)


def apply(folder: Path, place: Path) -> dict[str, Any]:
    """Turns the export in ``folder`` into the next one, by the delta in ``place``.

    The new parts stand beside the old ones until ``bundle.json`` names them, so that a cut off call changes nothing. A
    delta that was applied already changes nothing either.

    Returns:
        The new ``bundle.json``.

    Raises:
        UserError: the delta is damaged, or for another export than the folder's; or another export writes into it.
    """
    found = read(place)
    with lock.of(folder) as owner:
        now = parts.read_manifest(folder)
        if now != found.manifest:
            _check_parent(folder, now, found)
            parts.publish_copy(folder, parts.reading(folder, _patch(found), now), found.signature, owner)
    return parse_json(found.manifest)


def roll_back(folder: Path) -> dict[str, Any]:
    """Makes the export before the one in ``folder`` the one that counts again.

    Returns:
        Its ``bundle.json``.

    Raises:
        UserError: none is kept, or it is damaged; or another export writes into ``folder``.
    """
    with lock.of(folder) as owner:
        before = parts.earlier(folder)
        if not before:
            raise UserError(f"{folder} keeps no export before its present one: export the older model into it again")
        parts.reading(folder, _export, json_bytes(before))
        parts.switch(folder, before, owner)
    return before


def _patch(found: Delta) -> Callable[[Export], Export]:
    """A function from the old export to the new one."""

    def patch(old: Export) -> Export:
        about = parse_json(found.manifest)
        if not {sealed.is_plain(name) for name in (about.get("place"), *about.get("files", {}))} == {True}:
            raise UserError(f"{found.folder}: its bundle.json names files by no plain names: do not trust this delta")
        try:
            files = delta.patch(old.files, found.changes, about["files"])
        except (ValueError, IndexError, KeyError) as error:
            raise UserError(
                f"{found.folder} cannot be applied to {old.folder}: make the delta again ({error})"
            ) from error
        return Export(old.folder, found.manifest, about, files)

    return patch


def _check_parent(folder: Path, now: bytes, found: Delta) -> None:
    if not now:
        raise UserError(f"{folder} holds no export: copy the whole export that the delta was made from into it")
    if _hash(now) != found.parent:
        raise UserError(
            f"{found.folder} is a delta for the export {found.parent[:_SHORT]}, and {folder} holds "
            f"{_hash(now)[:_SHORT]}: apply deltas in the order of their exports, or copy the whole export"
        )


def _made_already(folder: Path, before: Export, after: Export) -> dict[str, Any]:
    about = read_json(folder / owned.MANIFEST)
    if (about.get("parent"), about.get("result")) != (_hash(before.manifest), _hash(after.manifest)):
        raise UserError(f"{folder} holds another delta or something else: choose another folder")
    read(folder)
    (folder / owned.STARTED).unlink(missing_ok=True)  # of one that was cut off right after its manifest
    return about


def _publish(folder: Path, before: Export, after: Export, changes: Changes) -> dict[str, Any]:
    names = [path for path in sorted(folder.iterdir()) if path.name not in owned.NOTES]
    files = {path.name: [path.stat().st_size, file_hash(path)] for path in names}
    about = {
        "delta": FORMAT,
        "parent": _hash(before.manifest),
        "result": _hash(after.manifest),
        "changed": {name: len(value) for name, value in changes.items() if name.endswith("ids")},
        "bytes": {
            "delta": sum(size for size, _ in files.values()),
            "whole": len(after.manifest) + sum(content.nbytes for content in after.files.values()),
        },
        "files": files,
    }
    write_json(folder / owned.MANIFEST, owned.MARK | about)
    (folder / owned.STARTED).unlink()
    return about


def _export(export: Export) -> Export:
    return export


def _signed(export: Export) -> tuple[Export, bytes]:
    path = export.folder / export.about["place"] / parts.SIGNATURE
    return export, path.read_bytes() if path.is_file() else b""


def _checked(path: Path, expected: str) -> bytes:
    try:
        content, found = sealed.read_file(path)
    except OSError:
        found = ""
    if found != expected:
        raise UserError(f"{path} is missing or damaged: copy the delta again")
    return content.tobytes()


def _hash(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()
