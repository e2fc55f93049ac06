"""The difference between two exports, and the new export from the old one and the difference: pure functions of bytes.

Rows that changed or are new are told by their ids; a file of another kind that changed is told whole. The result is
equal to the new export byte for byte.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from rexjax.errors import UserError
from rexjax.serving import delta_arrays, delta_items
from rexjax.serving.delta_arrays import Changes

WHOLE = "whole"
"""The name of a file's content where it is told whole."""
_BETWEEN = ":"  # a file's name and an array's; no plain file name holds it


class Codec(NamedTuple):
    """How the changes of a file are told."""

    changes: Callable[[np.ndarray, np.ndarray], Changes]
    """(old, new), uint8, to what turns one into the other."""
    apply: Callable[[np.ndarray, Mapping[str, np.ndarray]], np.ndarray]
    """(old, changes) to new."""


def _of_arrays(layout_of: Callable[[np.ndarray], delta_arrays.Layout]) -> Codec:
    return Codec(partial(delta_arrays.changes, layout_of=layout_of), partial(delta_arrays.apply, layout_of=layout_of))


CODECS = {
    ".npy": _of_arrays(delta_arrays.npy_layout),
    ".safetensors": _of_arrays(delta_arrays.safetensors_layout),
    ".parquet": Codec(delta_items.changes, delta_items.apply),
}
"""By the ending of a file's name; any other is told whole."""


def difference(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> Changes:
    """What turns the files ``old`` into ``new``.

    Args:
        old: files of an export by name, uint8.
        new: likewise.

    Returns:
        Arrays by FILE:NAME. A file without any is as before.
    """
    found = {}
    for name, content in new.items():
        if name in old and np.array_equal(old[name], content):
            continue
        changed = _changes(name, old.get(name), content)
        found |= {f"{name}{_BETWEEN}{part}": value for part, value in changed.items()}
    return found


def patch(old: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], hashes: Mapping[str, str]) -> Changes:
    """The new files, by name, uint8.

    Args:
        old: files of the export that ``found`` was told from.
        found: of ``difference``.
        hashes: SHA-256 of each new file in hexadecimal, by name.

    Raises:
        UserError: a file does not become what its hash says.
    """
    new = {name: _patched(name, old.get(name), _of_file(name, found)) for name in hashes}
    for name, content in new.items():
        if hashlib.sha256(content).hexdigest() != hashes[name]:
            raise UserError(
                f"the delta makes another {name} than the new export has: another version of pyarrow may write it "
                "otherwise; copy the whole export"
            )
    return new


def _changes(name: str, old: np.ndarray | None, new: np.ndarray) -> Changes:
    """Those of one file; whole where its codec does not give back the same bytes, or nothing is saved."""
    codec = CODECS.get(name[name.rfind(".") :])
    if codec and old is not None:
        found = codec.changes(old, new)
        smaller = sum(value.nbytes for value in found.values()) < new.nbytes
        if smaller and np.array_equal(codec.apply(old, found), new):
            return found
    return {WHOLE: new}


def _of_file(name: str, found: Mapping[str, np.ndarray]) -> Changes:
    start = f"{name}{_BETWEEN}"
    return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}


def _patched(name: str, old: np.ndarray | None, found: Changes) -> np.ndarray:
    if WHOLE in found:
        return found[WHOLE]
    if old is None:
        raise UserError(f"the delta does not hold {name}, which the old export lacks: make the delta again")
    return CODECS[name[name.rfind(".") :]].apply(old, found) if found else old
