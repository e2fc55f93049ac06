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

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

from rexjax.errors import UserError
from rexjax.serving import parts
from rexjax.serving.bundle import Bundle
from rexjax.serving.engine import warm

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from rexjax.serving import swap; swap.main(*sys.argv[2:])"
"""What the process runs."""
_ROOT = Path(__file__).parents[2]  # where this library is imported from
FIRST, LONGEST = 2.0, 300.0
"""Seconds before a bundle that was refused is tried again, at first and at most."""
_NICE = 10
SECONDS = 600.0
"""Seconds that a bundle has to be loaded, compiled and checked."""
OWN_BYTES, COPIES = 4 << 30, 6
"""Memory of that process: for JAX and the compiler, and so many times the bytes of the export."""
_UNSOUND = 2  # the exit code of a bundle whose reader says what is wrong


class Retry:
    """When a bundle that was refused is tried again: after 2 seconds, and then twice as long each time."""

    def __init__(self) -> None:
        self._stamp, self._at, self._seconds = b"", 0.0, 0.0

    def due(self, stamp: bytes, now: float) -> bool:
        """Whether the bundle that ``stamp`` tells apart may be tried."""
        return stamp != self._stamp or now >= self._at

    def failed(self, stamp: bytes, now: float) -> float:
        """It was refused; the seconds until it is tried again."""
        self._seconds = min(2 * self._seconds, LONGEST) if stamp == self._stamp else FIRST
        self._stamp, self._at = stamp, now + self._seconds
        return self._seconds


async def check_apart(folder: Path, manifest: bytes) -> None:
    """Loads, compiles and checks the bundle in ``folder`` whose ``bundle.json`` is ``manifest``.

    The process is isolated: no variable of the environment and no file beside it adds to what it imports. It runs on
    the CPU, also where this server holds an accelerator, and its memory and its time have limits.

    Raises:
        UserError: it is not sound.
    """
    cache = jax.config.jax_compilation_cache_dir or ""
    command = [sys.executable, "-I", "-c", PROGRAM, str(_ROOT), str(folder.resolve()), cache]
    with (
        tempfile.TemporaryDirectory() as empty,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
    ):
        given.write(manifest)
        given.seek(0)
        process = subprocess.Popen(
            command, cwd=empty, env=_environment(), stdin=given, stdout=said, stderr=subprocess.DEVNULL
        )
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


def _environment() -> dict[str, str]:
    """This process's variables without the keys of this library; no accelerator is asked for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REXJAX_")}
    return kept | {"JAX_PLATFORMS": "cpu"}


def settle() -> None:
    """After a bundle was loaded: what it consists of is looked through once and then no more, where each full garbage
    collection would stop all requests for a tenth of a second; and what the one before has left goes to the system,
    which glibc would keep."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def limit(memory: int, seconds: float) -> None:
    """Ends this process where it allocates more than ``memory`` bytes more than it has, or computes for longer than
    ``seconds`` on each of the CPUs. It leaves no core file."""
    if not resource:
        return
    for name, most in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_CPU", int(seconds * (os.cpu_count() or 1))),
        ("RLIMIT_DATA", memory),
    ):
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def memory_for(folder: Path, manifest: bytes) -> int:
    """Bytes that loading and compiling the export may allocate: ``COPIES`` of its files, and what JAX needs itself."""
    about = parts.parse_json(manifest)
    place = folder / str(about.get("place", ""))
    sizes = [path.stat().st_size for path in place.iterdir()] if place.is_dir() else []
    return OWN_BYTES + COPIES * sum(sizes)


def main(folder: str, cache: str) -> None:
    """The process; ``bundle.json`` is read from standard input."""
    manifest = sys.stdin.buffer.read()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        limit(memory_for(Path(folder), manifest), SECONDS)
        bundle = Bundle(Path(folder), manifest)
        warm(bundle)
        bundle.check()
    except UserError as error:
        print(error)
        sys.exit(_UNSOUND)
    except MemoryError:
        print(f"{folder} needs more memory than {COPIES} copies of its files")
        sys.exit(_UNSOUND)
