"""``rexjax refresh``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rexjax.cli import run, terminal
from rexjax.cli.places import ConfigFile, Workdir

if TYPE_CHECKING:
    from rexjax.config.schema import Config


@dataclass(frozen=True)
class Refresh:
    """Goes on from a finished run with the new events of its log, and compares the two."""

    config: ConfigFile
    """The config of the finished run, whose log has grown. Pass --workdir NEW for the run that follows it."""
    parent: Workdir
    """The finished run. It stays as it is."""
    days: float = 1.0
    """The last days of the log are the test, and as many before them validate. The models have not seen them."""


def refresh(request: Refresh, config: "Config") -> None:
    """``rexjax refresh``."""
    from rexjax.artifacts import classes, store
    from rexjax.pipeline.refresh.refresh import refresh as follow
    from rexjax.runtime import processes
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    alike = {"command": "refresh", "days": request.days, "config": classes.as_dict(config)} | store.packages()
    with processes.together(alike):
        say = terminal.say if processes.first() else run.say_nothing
        found = follow(config, request.parent, days=request.days, say=say)
        if processes.first():
            for outcome in found.outcomes:
                run.print_outcome(outcome, found.stages[outcome.stage], found.config)
            terminal.out.print(found.comparison.verdict, soft_wrap=True)
