"""Standard output and standard error, whose reader may be gone: a closed pipe, or a terminal that hung up."""

import contextlib
import os
import select
import sys
from collections.abc import Iterable, Iterator

import rich.console


class Console(rich.console.Console):
    """Prints as rich does; where nobody reads any more, the error reaches the caller."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process here, with the exit code of a failure.

        Raises:
            BrokenPipeError: always.
        """
        raise BrokenPipeError("nobody reads what is printed")


def without_reader() -> list[int]:
    """The file descriptors of standard output and standard error that nobody reads any more."""
    poll = select.poll()
    for number in _descriptors():
        poll.register(number, 0)  # errors and hang-ups are always told
    return [number for number, events in poll.poll(0) if events & (select.POLLERR | select.POLLHUP)]


def _descriptors() -> Iterator[int]:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or a stream of a notebook or a test
            yield stream.fileno()


def silence(descriptors: Iterable[int]) -> None:
    """What is written there from now on is lost, and no error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in descriptors:
        os.dup2(nowhere, number)
    os.close(nowhere)
