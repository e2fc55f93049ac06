"""Preemption: a signal asks a run to stop; it stops where nothing is lost, on all processes alike.

SIGTERM, SIGHUP (the terminal is gone), and SIGINT once, raise ``Preempted`` where that loses nothing. Where it would
(``held``: a step under way, or other processes that would wait for this one for ever), the run is asked, and looks now
and then whether it was.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from rexjax.runtime import output, processes


class Preempted(BaseException):
    """The run was asked to stop and has; like KeyboardInterrupt it is no error that anyone may handle in passing."""


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _State:
    asked = False
    held = 0
    terminals: Sequence[int] = ()
    """Which of standard output and standard error are a terminal."""


_state = _State()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Within, SIGTERM, SIGHUP and SIGINT ask this process to stop; a second SIGINT ends it at once.

    A signal that is ignored stays so: SIGHUP under nohup. Outside the main thread, which alone may say what signals do,
    it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.asked = False
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    _state.terminals = [number for number in (1, 2) if os.isatty(number)]
    before = {number: signal.signal(number, _ask) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.asked = False


def _ask(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and _state.asked:
        raise KeyboardInterrupt
    if number == signal.SIGHUP:
        output.silence(_state.terminals)  # said to a terminal that is gone, a line would be an error that ends the run
    _state.asked = True
    if not _state.held:
        raise Preempted


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Within, a signal asks and does not raise: whoever holds looks at ``asked`` or calls ``stop_if_asked``."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Within, though others hold, a signal raises: for work of this process alone that starts again where it was."""
    held, _state.held = _state.held, 0
    try:
        if _state.asked:
            raise Preempted
        yield
    finally:
        _state.held = held


def asked() -> bool:
    """Whether this process was asked to stop."""
    return _state.asked


def stop_if_asked() -> None:
    """Raises ``Preempted`` on all processes if any of them was asked; all must call it."""
    if not processes.everywhere(not _state.asked):
        raise Preempted
