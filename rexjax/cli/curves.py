"""``rexjax curves``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from rexjax.cli import terminal
from rexjax.cli.places import ConfigFile

if TYPE_CHECKING:
    from rexjax.config.schema import Config


@dataclass(frozen=True)
class Curves:
    """Draws learning curves: by share of the log, by size of the catalogue, and by epoch. All are on validation."""

    config: ConfigFile
    """A Python file with get_config(), such as configs/quickstart.py."""
    of: Literal["teacher", "student"] = "teacher"
    """The config's teacher, or its student's model on labels alone."""
    by: Literal["users", "time"] = "users"
    """A share of the log is that of its users, drawn by the seed, or its latest training events."""
    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)
    """Shares of the log, each one fit."""
    catalogues: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)
    """Shares of the items, drawn by the seed, each one fit."""
    update: bool = False
    """Brings a workdir of another config up to date."""


def curves(request: Curves, config: "Config") -> None:
    """``rexjax curves``."""
    from rexjax.artifacts import workdirs
    from rexjax.pipeline import curves as learning
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    asked = learning.Asked(request.of, request.by, request.shares, request.catalogues)
    found = learning.run(config, terminal.say, asked, update=request.update)
    table = Table(title=f"Learning curves of the {request.of}, on validation")
    for name in ("part", "users", "items", "events", found["select"], "low", "high", "random"):
        table.add_column(name, justify="left" if name == "part" else "right", no_wrap=True)
    for curve in ("log", "catalogue"):
        for point in found[curve]:
            counts = (f"{point[name]:,}" for name in ("users", "items", "events"))
            figures = (f"{point[name]:.4f}" for name in (found["select"], "low", "high", "random"))
            table.add_row(f"{curve}, {point['share']:.0%}", *counts, *figures)
    terminal.out.print(table)
    folder = workdirs.folder_of(config.workdir) / learning.FOLDER
    terminal.out.print(f"figures: {folder}/curves.json    picture: {folder}/curves.svg")
