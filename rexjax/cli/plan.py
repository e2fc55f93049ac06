"""``rexjax plan``."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rexjax.cli import terminal
from rexjax.cli.places import ConfigFile, File
from rexjax.errors import UserError

if TYPE_CHECKING:
    from rexjax.config.schema import Config


@dataclass(frozen=True)
class Plan:
    """Estimates memory, time and cost on TPUs, without TPUs. Exit code 1: the programs do not fit."""

    config: ConfigFile
    """A Python file with get_config(), such as configs/quickstart.py."""
    topology: str = ""
    """The topology of one slice, such as v5p:8x8x8."""
    slices: int = 1
    """The number of equal slices that work as one."""
    items: int | None = None
    """Size of the catalogue. Default: that of the workdir, or of the config's source."""
    json: File = None
    """A file to which the plan is also written as JSON."""


def plan(request: Plan, config: "Config") -> None:
    """``rexjax plan``."""
    from rexjax.artifacts import files, paths
    from rexjax.planning import plan as plans
    from rexjax.planning import report, topology

    if not request.topology:
        raise UserError("a plan needs a topology: pass --topology, such as --topology v5p:2x2x1")
    if request.json:
        paths.check_file(request.json, "--json")
    made = plans.make(config, topology.parse(request.topology, request.slices), request.items)
    for table in report.tables(made):
        terminal.out.print(table)
    for line in report.lines(made):
        terminal.say_whole(line)
    if request.json:
        try:
            files.write_json(request.json, made)
        except OSError as error:
            raise UserError(f"--json {request.json} cannot be written ({error.strerror}): the plan is above") from error
    if not made["fits"]:
        sys.exit(1)
