"""The programs of an export: one for batches of any size, or, on TPU, one for each of a few sizes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as exports

from rexjax.errors import UserError

Program = Callable[..., Any]
_SIZE = re.compile(r".*\.tpu(\d+)\.program")
_SAME = {"one": "few"}  # a program that TPUs have no other of


def read(folder: Path, name: str) -> Program:
    """The program ``name`` of an export for this process's devices: (weights, arrays …) → arrays.

    Raises:
        UserError: it was made by a jax that this one does not understand.
    """
    if jax.default_backend() != "tpu":
        return jax.jit(_load(folder / f"{name}.program").call)
    sizes = {}
    for path in folder.glob(f"{_SAME.get(name, name)}.tpu*.program"):
        if found := _SIZE.fullmatch(path.name):
            sizes[int(found[1])] = jax.jit(_load(path).call)
    return of_sizes(sizes)


def of_sizes(programs: dict[int, Program]) -> Program:
    """A program for batches of any size, of ones that take a batch of one size each.

    A batch is padded with copies of its last request to the next size, and cut where it is larger than all of them.
    """
    largest = max(programs)

    def answer(weights: Any, shared: list[Any], asked: list[Any]) -> Any:
        users = len(asked[0])
        size = min(known for known in programs if known >= users)
        padded = [np.concatenate([array, np.repeat(array[-1:], size - users, 0)]) for array in asked]
        return jax.tree.map(lambda found: np.asarray(found)[:users], programs[size](weights, *shared, *padded))

    def call(weights: Any, *arguments: Any) -> Any:
        shared, asked = [a for a in arguments if np.ndim(a) == 0], [a for a in arguments if np.ndim(a)]
        starts = range(0, len(asked[0]), largest)
        parts = [answer(weights, shared, [array[start : start + largest] for array in asked]) for start in starts]
        return jax.tree.map(lambda *each: np.concatenate(each), *parts)

    return call


def _load(path: Path) -> exports.Exported:
    try:
        return exports.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # of a file whose hash is right: made by a newer jax
        raise UserError(f"{path} cannot be read by this jax {jax.__version__}: {error}") from error
