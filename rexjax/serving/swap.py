"""What a new bundle costs, kept away from those who ask meanwhile.

It is compiled in a process of its own that gives way to others, into JAX's cache of compiled programs, where the server
finds it: what is left to the server takes about a second instead of ten.
"""

import asyncio
import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path

import jax

from rexjax.runtime.compile_cache import keep_compiled_programs
from rexjax.serving.bundle import Bundle
from rexjax.serving.engine import warm

_NICE = 10


async def compile_apart(folder: Path) -> int | None:
    """Fills the cache for the bundle in ``folder``.

    Returns:
        The exit code of the process: not 0 where the bundle is not sound, which its reader will say. None where there
        is no cache, or an accelerator, which a second process would have to share.
    """
    if not jax.config.jax_compilation_cache_dir or jax.default_backend() != "cpu":
        return None
    command = [sys.executable, "-m", "rexjax.serving.swap", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return await asyncio.to_thread(process.wait)
    finally:
        process.kill()  # where the server stops meanwhile


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
    warm(Bundle(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
