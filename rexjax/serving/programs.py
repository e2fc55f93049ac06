"""The programs of an export: one for batches of any size, or, on TPU, one for each of a few sizes."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax import export as exports

from rexjax import native
from rexjax.errors import UserError

_FRAMES = "jax_traceback_in_locations_limit"
Program = Callable[..., Any]
_SIZE = re.compile(r"(.*)\.tpu(\d+)\.program")
LOOPS = ".loops"
"""After the name of a program that holds the C++ loops of ``rexjax.native``."""
_SAME = {"one": "few"}  # a program that TPUs have no other of


@contextlib.contextmanager
def without_callers() -> Iterator[None]:
    """Programs that are exported within name one place in the code for each operation, not who asked for it, so that
    equal programs are equal bytes, whichever command made them."""
    before = getattr(jax.config, _FRAMES)
    jax.config.update(_FRAMES, 1)
    try:
        yield
    finally:
        jax.config.update(_FRAMES, before)


def read(files: Mapping[str, np.ndarray], name: str) -> Program:
    """The program ``name`` among the files of an export, for this process's devices: (weights, arrays …) → arrays.

    Raises:
        UserError: it was made by a jax that this one does not understand.
    """
    if jax.default_backend() != "tpu":
        with_loops = f"{name}{LOOPS}.program"
        here = jax.default_backend() == "cpu" and with_loops in files and native.available()
        return jax.jit(_load(files, with_loops if here else f"{name}.program").call)
    found = [(file, _SIZE.fullmatch(file)) for file in files]
    sizes = {int(match[2]): file for file, match in found if match and match[1] == _SAME.get(name, name)}
    return of_sizes({size: jax.jit(_load(files, file).call) for size, file in sizes.items()})


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


def _load(files: Mapping[str, np.ndarray], file: str) -> exports.Exported:
    try:
        return exports.deserialize(bytearray(files[file]))
    except Exception as error:  # of a file whose hash is right: made by a newer jax
        raise UserError(f"{file} cannot be read by this jax {jax.__version__}: {error}") from error
