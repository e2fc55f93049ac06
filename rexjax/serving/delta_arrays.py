"""Files of arrays as a head and rows of bytes, and what turns one such file into another.

An array of shape [V, …] is V rows of bytes here, whatever its dtype: what changed is told by comparing bytes.
"""

import io
import json
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

Changes = dict[str, np.ndarray]
"""Named arrays that turn a file into the next one."""
_NPY_HEADS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_NPY_HEAD = 1 << 16  # bytes that hold the header of an array
_ID_BYTES = 4
_DTYPE_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4}
_DTYPE_BYTES |= {"F64": 8, "I64": 8, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1}


class Layout(NamedTuple):
    """Where the arrays of a file lie."""

    head: int
    """Bytes before the first array."""
    shapes: dict[str, tuple[int, int]]
    """Rows and bytes of a row, by array, in the file's order."""


def npy_layout(content: np.ndarray) -> Layout:
    """The one array of an .npy file, uint8, or of its head alone."""
    head = io.BytesIO(content[:_NPY_HEAD].tobytes())
    shape, by_column, dtype = _NPY_HEADS[npy.read_magic(head)](head)
    return Layout(head.tell(), {"rows": _rows_of(shape[::-1] if by_column else shape, dtype.itemsize)})


def safetensors_layout(content: np.ndarray) -> Layout:
    """The arrays of a safetensors file, uint8, or of its head alone."""
    (length,) = struct.unpack_from("<Q", content[:8].tobytes())
    about = json.loads(content[8 : 8 + length].tobytes())
    arrays = {name: found for name, found in about.items() if name != "__metadata__"}
    order = sorted(arrays, key=lambda name: arrays[name]["data_offsets"])
    shapes = {name: _rows_of(arrays[name]["shape"], _DTYPE_BYTES[arrays[name]["dtype"]]) for name in order}
    return Layout(8 + length, shapes)


def _rows_of(shape: tuple[int, ...] | list[int], bytes_of_one: int) -> tuple[int, int]:
    """Rows, and bytes of each.

    >>> _rows_of((5, 3), 4), _rows_of((), 8)
    ((5, 12), (1, 8))
    """
    rows, *rest = shape or (1,)
    return rows, int(np.prod(rest, dtype=np.int64)) * bytes_of_one


def changes(old: np.ndarray, new: np.ndarray, layout_of: Callable[[np.ndarray], Layout]) -> Changes:
    """What turns the file ``old`` into ``new``.

    Args:
        old: bytes, uint8.
        new: likewise.
        layout_of: reads the head of either.

    Returns:
        ``head`` uint8, and for each array that differs NAME``/rows`` uint8 [C, bytes of a row] and NAME``/ids`` int32
        [C]. Without ids the rows are all of the array. Rows past the old ones count as changed unless they are zeros.
    """
    layout, before, after = layout_of(new), arrays_of(old, layout_of(old)), arrays_of(new, layout_of(new))
    found = {"head": new[: layout.head]}
    for name, rows in after.items():
        found |= {f"{name}/{part}": value for part, value in _change(before.get(name), rows).items()}
    return found


def apply(old: np.ndarray, found: Mapping[str, np.ndarray], layout_of: Callable[[np.ndarray], Layout]) -> np.ndarray:
    """The file that ``changes`` told from ``old``: bytes, uint8."""
    layout, before = layout_of(found["head"]), arrays_of(old, layout_of(old))
    content = np.empty(layout.head + sum(rows * width for rows, width in layout.shapes.values()), np.uint8)
    content[: layout.head] = found["head"]
    for name, rows in arrays_of(content, layout).items():
        _fill(rows, before.get(name), found.get(f"{name}/ids"), found.get(f"{name}/rows"))
    return content


def arrays_of(content: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """Views of a file's arrays, uint8 [V, bytes of a row] each."""
    found, at = {}, layout.head
    for name, (rows, width) in layout.shapes.items():
        found[name] = content[at : at + rows * width].reshape(rows, width)
        at += rows * width
    return found


def changed_rows(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Rows of ``new`` that are other bytes than those of ``old``, past whose end all are zeros: int32 [C].

    >>> changed_rows(np.uint8([[1], [2]]), np.uint8([[1], [3], [0], [4]]))
    array([1, 3], dtype=int32)
    """
    kept = min(len(old), len(new))
    differ = np.concatenate([(old[:kept] != new[:kept]).any(1), new[kept:].any(1)])
    return np.flatnonzero(differ).astype(np.int32)


def _change(old: np.ndarray | None, new: np.ndarray) -> Changes:
    if old is None or old.shape[1] != new.shape[1]:
        return {"rows": new}
    ids, width = changed_rows(old, new), new.shape[1]
    if len(ids) * (width + _ID_BYTES) >= max(1, new.size):
        return {"rows": new}
    return {"ids": ids, "rows": new[ids]} if len(ids) or len(old) != len(new) else {}


def _fill(rows: np.ndarray, old: np.ndarray | None, ids: np.ndarray | None, changed: np.ndarray | None) -> None:
    """Writes the new rows of an array into ``rows``."""
    if ids is None and changed is not None:
        rows[:] = changed
        return
    if old is None:
        raise ValueError("an array without a predecessor needs all of its rows")
    kept = min(len(old), len(rows))
    rows[:kept], rows[kept:] = old[:kept], 0
    if ids is not None and changed is not None:
        rows[ids] = changed
