"""What a new bundle costs, and what it may do, kept away from those who ask meanwhile.

A process of its own that gives way to others loads the bundle, compiles it into JAX's cache of compiled programs, and
checks its answers. The server loads only what that process has passed, and finds it compiled: what is left takes about
a second instead of ten. A bundle that crashes, hangs or answers otherwise ends that process, not the server.
"""

import asyncio
import ctypes
import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax

from rexjax.errors import UserError
from rexjax.runtime.compile_cache import keep_compiled_programs
from rexjax.serving.bundle import Bundle
from rexjax.serving.engine import warm

_NICE = 10
SECONDS = 600.0
"""Seconds that a bundle has to be loaded, compiled and checked."""
_UNSOUND = 2  # the exit code of a bundle whose reader says what is wrong


async def check_apart(folder: Path) -> bool:
    """Loads, compiles and checks the bundle in ``folder``; False where there is no cache, or an accelerator, which a
    second process would have to share: nothing is begun then.

    Raises:
        UserError: it is not sound.
    """
    if not jax.config.jax_compilation_cache_dir or jax.default_backend() != "cpu":
        return False
    command = [sys.executable, "-P", "-m", "rexjax.serving.swap", str(folder.resolve())]
    with (
        tempfile.TemporaryDirectory() as empty,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
    ):
        process = subprocess.Popen(command, cwd=empty, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL)
        try:
            await asyncio.to_thread(process.wait, SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(f"{folder} was not loaded, compiled and checked within {SECONDS:.0f} seconds") from None
        finally:
            process.kill()  # also where the server stops meanwhile
            process.wait()
        said.seek(0)
        why = said.read().strip()
    if process.returncode == _UNSOUND:
        raise UserError(why or f"{folder} is no sound export")
    if process.returncode:
        raise UserError(f"{folder} ended the process that checked it with exit code {process.returncode}")
    return True


def settle() -> None:
    """After a bundle was loaded: what it consists of is looked through once and then no more, where each full garbage
    collection would stop all requests for a tenth of a second; and what the one before has left goes to the system,
    which glibc would keep."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def main(folder: str) -> None:
    """The process."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    keep_compiled_programs(0.0)
    try:
        bundle = Bundle(Path(folder))
        warm(bundle)
        bundle.check()
    except UserError as error:
        print(error)
        sys.exit(_UNSOUND)


if __name__ == "__main__":
    main(*sys.argv[1:])
