"""What a stage of the pipeline declares of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rexjax.artifacts.classes import Open


def _nothing(*arguments: Any) -> dict[str, str]:
    return {}


def _no_lines(*arguments: Any) -> list[Any]:
    return []


@dataclass(frozen=True)
class Stage(Open):
    """A function that reads finished artifacts and leaves one; its place follows from ``needs``."""

    name: str
    """Of its artifact's folder, and of its command."""
    run: Callable[..., dict[str, Any]]
    """(config, folder, artifacts by stage) → metrics: plain JSON values; "content" holds digests of what it wrote."""
    needs: tuple[str, ...] = ()
    """Stages whose artifacts it reads."""
    keys: tuple[str, ...] = ()
    """Parts of the config that its result depends on, dotted."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions, beside rexjax's, decide its result: another version makes it again."""
    what: str = ""
    """For --help."""
    external: Callable[..., dict[str, str]] = _nothing
    """(config) → hashes of files outside the workdir that it reads."""
    show: Callable[..., list[Any]] = _no_lines
    """(metrics, config) → lines and tables for the terminal when it is done."""
    together: bool = False
    """Runs on all processes at once; other stages run on the first one while the others wait."""
