"""When a training run is saved, and when it stops: the same decision on all processes."""

import time
from collections.abc import Callable

from rexjax.runtime import preemption, processes
from rexjax.training.checkpoint import Run

SECONDS = 60.0
"""Between two saves, unless a number of steps is asked for: what a kill costs at most."""
SHARE = 0.02
"""Of the time, at most, that the steps wait for saves; where one takes longer, saves are rarer."""


class Saver:
    """Looks after each stretch of steps whether to save and whether to stop."""

    def __init__(self, run: Run, every: int):
        """``every``: so many steps from one save to the next; 0: by time."""
        self._run, self._every = run, every
        self._at, self._cost, self._steps = time.monotonic(), 0.0, 0

    def look(self, steps: int, save: Callable[[], None]) -> None:
        """After ``steps`` more steps, with none under way: calls ``save`` if it is time to, or if any process was asked
        to stop.

        Raises:
            Preempted: one was; what was saved is on disk.
            UserError: a save before this one has failed.
        """
        self._run.check()
        self._steps += steps
        if processes.everywhere(not (self._due() or preemption.asked())):
            return
        started = time.monotonic()
        save()
        self._at, self._steps = time.monotonic(), 0
        self._cost = self._at - started
        preemption.stop_if_asked()

    def _due(self) -> bool:
        if self._every:
            return self._steps >= self._every
        return time.monotonic() - self._at > max(SECONDS, self._cost / SHARE)
