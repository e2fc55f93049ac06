"""Several processes that work as one: how they start, who writes, how they agree. With one process all of it is free.

What one process decides by its own clock or its own disk, the others must decide likewise, or they wait for each other
for ever: such conditions go through ``everywhere``.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from rexjax.errors import UserError

VARIABLES = ("REXJAX_COORDINATOR", "REXJAX_PROCESSES", "REXJAX_PROCESS_ID")
"""Address HOST:PORT of the first process, how many there are, and which one this is, counted from 0."""

LONGEST_WAIT = 7 * 24 * 3600
"""Seconds that processes wait while the first one runs a stage alone; a process that dies ends all at once."""


def start() -> None:
    """Joins the processes that the environment ``VARIABLES`` names; without them this process works alone.

    Must be called before JAX looks for devices.
    """
    found = {name: os.environ.get(name, "") for name in VARIABLES}
    if not any(found.values()):
        return
    if missing := [name for name, value in found.items() if not value]:
        raise UserError(f"several processes need {', '.join(VARIABLES)} in the environment: set {', '.join(missing)}")
    coordinator, *numbers = found.values()
    if not all(number.isdecimal() for number in numbers) or not int(numbers[1]) < int(numbers[0]):
        raise UserError(f"{VARIABLES[2]}={numbers[1]} must be a number from 0 to below {VARIABLES[1]}={numbers[0]}")
    if not coordinator.rpartition(":")[2].isdecimal():
        raise UserError(f"{VARIABLES[0]}={coordinator} must be HOST:PORT of the first process, such as 10.0.0.2:9876")
    jax.distributed.initialize(coordinator, int(numbers[0]), int(numbers[1]), shutdown_timeout_seconds=60)


def count() -> int:
    """How many processes there are."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def first() -> bool:
    """Whether this is the process that writes what is written once."""
    return count() == 1 or jax.process_index() == 0


def wait(what: str) -> None:
    """Returns when every process has come here; ``what`` is told when one does not come."""
    if count() > 1:
        from orbax.checkpoint import multihost

        # the coordinator's barrier, not a collective: those on CPU give up after half a minute
        multihost.sync_global_processes(what, timeout=LONGEST_WAIT, processes=set(range(count())))


@contextlib.contextmanager
def in_turn(what: str) -> Iterator[None]:
    """The first process runs the body, then all others do, and find what it left, also when it failed."""
    if not first():
        wait(what)
    try:
        yield
    finally:
        if first():
            wait(what)


def everywhere(condition: bool) -> bool:
    """Whether ``condition`` holds on every process: the same answer for all."""
    return mean(float(condition)) == 1.0


def mean(value: float) -> float:
    """The mean of ``value`` (to float32) over the processes: the same answer for all."""
    return value if count() == 1 else float(np.mean(multihost_utils.process_allgather(np.float32(value))))


def gather(tree: Any) -> Any:
    """Whole arrays on the host of every process, from arrays that lie over the devices of all."""
    return multihost_utils.process_allgather(tree, tiled=True) if count() > 1 else jax.tree.map(np.asarray, tree)
