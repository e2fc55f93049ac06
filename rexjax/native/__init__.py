"""Loops for CPUs in C++, called by XLA as custom calls.

They are there where the package was built with a C++ compiler on Linux; what calls them has another way. A program that
holds one runs only where the library is registered, so ``without`` leaves them out of what goes to other machines.
"""

import contextlib
import contextvars
import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

_TARGETS = ("rexjax_block_maxima", "rexjax_take_rows", "rexjax_put_rows")
_wanted = contextvars.ContextVar("native", default=True)


def available() -> bool:
    """Whether programs traced now may hold the loops."""
    return _wanted.get() and _registered()


@contextlib.contextmanager
def without() -> Iterator[None]:
    """Programs traced within hold none of the loops.

    >>> with without():
    ...     available()
    False
    """
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)


def disabled_checks() -> list[Any]:
    """For ``jax.export``, which refuses calls that it does not know: the programs run where the library is."""
    from jax.export import DisabledSafetyCheck

    return [DisabledSafetyCheck.custom_call(target) for target in _TARGETS]


@functools.cache
def _registered() -> bool:
    """Registers the library's functions once; False where it was not built, or was built for another XLA."""
    for path in sorted(Path(__file__).parent.glob("_loops*.so")):
        with contextlib.suppress(OSError, AttributeError, ValueError, jax.errors.JaxRuntimeError):
            library = ctypes.CDLL(str(path))
            for target in _TARGETS:
                jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
            return True
    return False
