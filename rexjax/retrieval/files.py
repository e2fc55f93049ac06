"""A served model's arrays in two files: the item rows, which are mapped and not copied, and all else."""

import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

from rexjax.embedding.rows import FORMATS
from rexjax.errors import UserError

ROWS, WEIGHTS = "rows.npy", "weights.safetensors"
NAMES = (ROWS, WEIGHTS)
_HEADS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_HEAD = 1 << 16  # bytes that hold the header of an array
_ITEMS = (
    "items",
    *(f"items/{kind._fields[0]}" for kind in FORMATS),
)  # of models that are trained by gradients; of others the largest array counts


def write(folder: Path, leaves: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays; the item rows (``items``, or a format's first field below it, else the largest array)
    get a file of their own."""
    largest = max(leaves, key=lambda name: leaves[name].nbytes)
    name = next((name for name in _ITEMS if name in leaves), largest)
    np.save(folder / ROWS, leaves[name])
    others = {other: leaf for other, leaf in leaves.items() if other != name}
    safetensors.numpy.save_file(others, folder / WEIGHTS, metadata={"rows": name})


def read(folder: Path) -> dict[str, jax.Array]:
    """Those arrays on the default device. On CPU the rows are the file's own pages, shared by all who read it.

    Raises:
        UserError: the files are not there.
    """
    if not (folder / ROWS).exists():
        raise UserError(f"{folder} holds no {ROWS}: remove the folder, and make it again")
    # the format aligns numbers to 64 bytes, so that JAX takes them as they lie
    rows = np.asarray(np.load(folder / ROWS, mmap_mode="r", allow_pickle=False))
    with safetensors.safe_open(folder / WEIGHTS, "numpy") as file:
        found = {name: jax.device_put(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        return found | {file.metadata()["rows"]: jax.device_put(rows, may_alias=True)}


def from_memory(files: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Those arrays on the default device, of the files' bytes, uint8. On CPU the rows are not copied once more where
    the bytes begin at a multiple of 64."""
    weights = files[WEIGHTS].tobytes()
    found = {name: jax.device_put(leaf) for name, leaf in safetensors.numpy.load(weights).items()}
    return found | {_name_of_rows(weights): jax.device_put(_as_array(files[ROWS]), may_alias=True)}


def _name_of_rows(weights: bytes) -> str:
    """The metadata of a safetensors file, which begins with the length of its JSON header."""
    (length,) = struct.unpack_from("<Q", weights)
    return json.loads(weights[8 : 8 + length])["__metadata__"]["rows"]


def _as_array(content: np.ndarray) -> np.ndarray:
    """The array of an .npy file's bytes, as they lie."""
    head = io.BytesIO(content[:_HEAD].tobytes())
    read_head = _HEADS[np.lib.format.read_magic(head)]
    shape, by_column, dtype = read_head(head)
    if dtype.hasobject:
        raise UserError(f"{ROWS} holds Python objects, which are never read: export the workdir again")
    return np.frombuffer(content[head.tell() :], dtype).reshape(shape, order="F" if by_column else "C")
