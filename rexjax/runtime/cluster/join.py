"""How a process joins the others."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax

from rexjax.runtime.cluster.environment import Place
from rexjax.runtime.cluster.relay import Relay, check_free

JOIN_SECONDS = 300.0
"""So long a process waits until all the others have come."""
HEARTBEAT_SECONDS = 24 * 3600
"""JAX's own patience with a silent process, which ends all of them with a page of text: ``watch`` speaks first."""
SHUTDOWN_SECONDS = 60
"""Between the first and the last process that leaves; they leave in step."""
RESTART = 75
"""Exit code: nothing saved is lost, start me again (EX_TEMPFAIL of sysexits.h)."""


class Joined(NamedTuple):
    """A process that has joined the others."""

    place: Place
    relay: Relay | None
    """The way to the first process; None on the first process itself."""


def join(place: Place) -> Joined:
    """Joins the other processes; must be called before JAX looks for devices.

    Where they do not come within ``JOIN_SECONDS``, the process says so and ends with exit code 75: JAX waits in C++.

    Raises:
        UserError: another program listens where the first process must.
    """
    if place.index == 0:
        check_free(place.coordinator)
    relay = Relay(place.coordinator) if place.index else None
    # it would take SIGTERM for itself, which is to stop the run (``preemption``), or end a process that does not train
    jax.config.update("jax_enable_preemption_service", False)
    with _deadline(JOIN_SECONDS, lambda: _missing(place, relay)):
        jax.distributed.initialize(
            relay.address if relay else place.coordinator,
            place.count,
            place.index,
            place.devices,
            "deactivate",  # detection: it is done, and would ask servers of a cloud once more
            initialization_timeout=2 * int(JOIN_SECONDS),
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    return Joined(place, relay)


def _missing(place: Place, relay: Relay | None) -> str:
    if relay and not relay.reached.is_set():
        return f"nothing answered at {place.coordinator}, where process 0 should listen"
    return f"not all of the {place.count} processes have come (this is process {place.index})"


@contextlib.contextmanager
def _deadline(seconds: float, what: Callable[[], str]) -> Iterator[None]:
    timer = threading.Timer(seconds, lambda: end(RESTART, f"{what()} within {seconds:.0f} s: start all of them again"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def end(code: int, sentence: str = "") -> None:
    """Ends this process at once, wherever its other threads are, as JAX's collectives wait inside C++ for ever."""
    if sentence:
        sys.stderr.write(f"rexjax: {sentence}\n")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
