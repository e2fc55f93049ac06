"""``rexjax refresh``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from rexjax.cli import models, run, terminal
from rexjax.cli.places import ConfigFile
from rexjax.errors import UserError

if TYPE_CHECKING:
    from rexjax.config.schema import Config
    from rexjax.registry import Registry


@dataclass(frozen=True)
class Refresh:
    """Goes on from a finished run with the new events of its log, and compares the two."""

    config: ConfigFile
    """The config of the finished run, whose log has grown. Pass --workdir NEW for the run that follows it."""
    parent: Annotated[Path | None, Positional, arg(metavar="WORKDIR")] = None
    """The finished run. It stays as it is. With --registry it may be left out: the champion's."""
    registry: Annotated[Path | None, arg(metavar="REGISTRY")] = None
    """A registry whose champion the finished run is. The refresh becomes a version of it, and champion if the gate lets
    it pass. An empty folder becomes a registry."""
    days: float = 1.0
    """The last days of the log are the test, and as many before them validate. The models have not seen them."""


def refresh(request: Refresh, config: "Config") -> None:
    """``rexjax refresh``."""
    from rexjax.artifacts import classes, store
    from rexjax.pipeline.refresh.refresh import refresh as follow
    from rexjax.runtime import processes
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    parent = _parent(request)
    alike = {"command": "refresh", "days": request.days, "config": classes.as_dict(config)} | store.packages()
    with processes.together(alike):
        say = terminal.say if processes.first() else run.say_nothing
        registry = _registry(request, config, parent) if processes.first() else None
        found = follow(config, parent, days=request.days, say=say)
        if processes.first():
            for outcome in found.outcomes:
                run.print_outcome(outcome, found.stages[outcome.stage], found.config)
            terminal.out.print(found.comparison.verdict, soft_wrap=True)
        if registry is not None:
            from rexjax.pipeline.refresh.offer import offer

            models.print_decision(offer(registry, found.config.workdir))


def _parent(request: Refresh) -> Path:
    if request.parent is not None:
        return request.parent
    if request.registry is None:
        raise UserError("name the finished run that is refreshed, or its registry with --registry")
    from rexjax.pipeline.refresh.offer import champion_workdir
    from rexjax.registry import Registry

    return champion_workdir(Registry.open(request.registry))


def _registry(request: Refresh, config: "Config", parent: Path) -> "Registry | None":
    if request.registry is None:
        return None
    from rexjax.artifacts import workdirs
    from rexjax.pipeline.refresh.offer import registry_of

    return registry_of(request.registry, config, workdirs.folder_of(parent))
