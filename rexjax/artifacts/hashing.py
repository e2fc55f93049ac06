"""Hashes of settings, files and arrays, and settings as plain JSON values."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rexjax.artifacts.classes import Open


def as_dict(config: Any) -> dict[str, Any]:
    """A config (or part of one) as plain JSON values; of an ``Open`` value the key "class" says which it is."""
    return json.loads(json.dumps(_plain(config)))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    kind = {"class": f"{type(value).__module__}:{type(value).__qualname__}"} if isinstance(value, Open) else {}
    return kind | {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of ``value`` (a config, or plain JSON values) in canonical form."""
    plain = as_dict(value) if dataclasses.is_dataclass(value) else value
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The keys at which two configs (as dicts) differ, each as 'key: old -> new'."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a!r} -> {b!r}")
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder with their relative names."""
    if path.is_dir():
        names = sorted(p for p in path.rglob("*") if p.is_file())
        return hashlib.sha256("".join(f"{p.relative_to(path)}:{file_hash(p)}\n" for p in names).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes, dtypes and values."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.shape} {array.dtype}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
