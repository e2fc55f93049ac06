"""Progress bars with rate and time left, on standard error, silent when nobody looks."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rexjax.runtime import processes
from rexjax.runtime.output import Console

T = TypeVar("T")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Items per second of ``task``."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


def track(
    things: Iterable[T], description: str, total: int | None = None, *, size: int | Callable[[T], int] = 1
) -> Iterator[T]:
    """Yields ``things`` while the first process shows a bar on standard error, where that is a terminal.

    ``total`` counts units, not things: each thing is worth ``size`` units, or as many as ``size`` says of it.
    """
    if total is None and hasattr(things, "__len__") and not callable(size):
        total = len(things) * size
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn())
    console = Console(stderr=True)
    seen = processes.first() and sys.stderr.isatty()
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not seen) as bar:
        task = bar.add_task(description, total=total)
        for thing in things:
            yield thing
            bar.advance(task, size(thing) if callable(size) else size)


def notice(line: str) -> None:
    """Says one line on standard error, once for all processes."""
    if processes.first():
        Console(stderr=True).print(f"rexjax: {line}", markup=False, highlight=False, soft_wrap=True)
