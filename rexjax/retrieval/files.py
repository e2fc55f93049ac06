"""A served model's arrays in two files: the item rows, which are mapped and not copied, and all else."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

from rexjax.embedding.rows import FORMATS
from rexjax.errors import UserError

ROWS, WEIGHTS = "rows.npy", "weights.safetensors"
NAMES = (ROWS, WEIGHTS)
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


def read(folder: Path, *, private: bool = False) -> dict[str, jax.Array]:
    """Those arrays on the default device. On CPU the rows are the file's own pages, shared by all who read it; with
    ``private`` they are a copy, which nothing that is written into the file changes.

    Raises:
        UserError: the files are not there.
    """
    if not (folder / ROWS).exists():
        raise UserError(f"{folder} holds no {ROWS}: remove the folder, and make it again")
    # the format aligns numbers to 64 bytes, so that JAX takes them as they lie
    rows = np.asarray(np.load(folder / ROWS, mmap_mode=None if private else "r", allow_pickle=False))
    with safetensors.safe_open(folder / WEIGHTS, "numpy") as file:
        found = {name: jax.device_put(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        return found | {file.metadata()["rows"]: jax.device_put(rows, may_alias=True)}
