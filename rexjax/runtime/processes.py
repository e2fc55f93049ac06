"""Several processes that work as one: how they start, who writes, how they agree. With one process all of it is free.

What one process decides by its own clock or its own disk, the others must decide likewise, or they wait for each other
for ever: such conditions go through ``everywhere``.
"""

import contextlib
import platform
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from rexjax.errors import UserError
from rexjax.runtime import _jax_internals
from rexjax.runtime.cluster import agreement, environment, watch
from rexjax.runtime.cluster.join import RESTART, Joined, end, join

LONGEST_WAIT = 7 * 24 * 3600
"""Seconds that processes wait while the first one runs a stage alone; a process that dies ends all (``together``)."""


def start() -> Joined | None:
    """Joins the processes that the environment names (``cluster.environment`` has the rule); None: there are none.

    Must be called before JAX looks for devices.
    """
    place = environment.find()
    return join(place) if place else None


@contextlib.contextmanager
def together(alike: dict[str, Any]) -> Iterator[None]:
    """Within, this process works with those that the environment names, if any, and no one waits for one that is gone.

    A process that is gone, or fails, ends the others at once, each with one sentence. What must be ``alike`` on all of
    them (names and plain values; and Python and the clocks) is compared first.

    Raises:
        UserError: the processes differ, on each of them.
    """
    seconds = watch.limit()
    joined = start()
    if not joined:
        yield
        return
    board = _jax_internals.key_value_client()
    others = watch.Watch(board, joined, seconds)
    others.begin()
    try:
        agreement.reach(board, joined.place.index, {"python": platform.python_version()} | alike)
        yield
    except UserError as error:
        others.tell(2, f"ended: {error}")
        raise
    except Exception as error:
        others.doubt()  # it may come of another's end, and then this does not return
        others.tell(1, f"ended by {type(error).__name__}, which it shows")
        raise
    except BaseException as stop:  # asked to stop, by a signal
        if isinstance(stop, KeyboardInterrupt) or not others.leave(watch.STOP_SECONDS):
            others.tell(RESTART, "was asked to stop")
        raise
    if not others.leave():
        others.doubt()  # one is gone, at the very end
    jax.distributed.shutdown()
    if joined.relay:
        joined.relay.close()


def leave(code: int) -> None:
    """Exits with ``code``; where others have not left with this process, without the wait for them at JAX's exit."""
    if count() > 1:
        end(code)
    sys.exit(code)


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
