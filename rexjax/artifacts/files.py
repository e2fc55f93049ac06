"""Files: their hashes, and JSON that is written whole or not at all."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp"
"""Ending of a file that is being written; a killed process may leave one."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder with their relative names."""
    if path.is_dir():
        names = sorted(p for p in path.rglob("*") if p.is_file())
        return hashlib.sha256("".join(f"{p.relative_to(path)}:{file_hash(p)}\n" for p in names).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    temporary.write_bytes(json_bytes(value))
    os.replace(temporary, path)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; {} where there is none that can be read."""
    try:
        return parse_json(path.read_bytes())
    except OSError:
        return {}


def json_bytes(value: Any) -> bytes:
    """What ``write_json`` writes."""
    return (json.dumps(value, indent=1) + "\n").encode()


def parse_json(content: bytes) -> dict[str, Any]:
    """The JSON object that ``content`` holds in UTF-8; {} where it holds none.

    >>> parse_json(b'{"a": 1}'), parse_json(b"[1]"), parse_json(b"\\xff")
    ({'a': 1}, {}, {})
    """
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
