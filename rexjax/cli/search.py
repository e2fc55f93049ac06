"""``rexjax sweep``, and ``rexjax compress --budget``."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from rexjax.cli import terminal
from rexjax.cli.places import ConfigFile
from rexjax.errors import UserError

if TYPE_CHECKING:
    from rexjax.config.schema import Config


@dataclass(frozen=True)
class Sweep:
    """Searches hyper-parameters on validation. The same command continues an interrupted search."""

    config: ConfigFile
    """A Python file with get_config(), such as configs/quickstart.py."""
    trials: int = 20
    """The largest number of models that are trained."""
    of: Literal["teacher", "student", "control"] = "teacher"
    """What is tuned: the teacher, from small models up; the student's training; or the control without a teacher."""
    minutes: float = 0.0
    """Minutes of fitting for members of a blend, which are proposed from cheap to dear. A member is kept if a paired
    interval shows a gain. --trials is ignored. 0: tunes the settings of the config's teacher instead."""
    update: bool = False
    """Brings a workdir of another config up to date."""

    def __post_init__(self) -> None:
        if not 0 <= self.minutes < math.inf or (self.minutes and self.of != "teacher"):
            raise UserError(
                f"--minutes {self.minutes:g} --of {self.of}: set --minutes above 0 with --of teacher, or leave it out"
            )


def sweep(request: Sweep, config: "Config") -> None:
    """``rexjax sweep``."""
    search = propose_members if request.minutes else search_settings
    search(request, config)


def propose_members(request: Sweep, config: "Config") -> None:
    """``rexjax sweep --of teacher --minutes``."""
    from rexjax.artifacts import workdirs
    from rexjax.pipeline import members
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    found = members.propose(config, request.minutes, terminal.say, update=request.update)
    table = Table(title="Members, from cheap to dear, by validation")
    for name in ("member", "with it", "gain", "95 % interval", "seconds", "kept"):
        table.add_column(name, justify="left" if name == "member" else "right")
    for tried in found.proposals:
        interval = f"{tried.gain.low:+.4f} to {tried.gain.high:+.4f}"
        figures = f"{tried.quality:.4f}", f"{tried.gain.difference:+.4f}", interval, f"{tried.seconds:.0f}"
        table.add_row(tried.name, *figures, "*" if tried.kept else "")
    terminal.out.print(table)
    if found.skipped:
        terminal.out.print(f"no time was left for {', '.join(found.skipped)}: give more --minutes, and it goes on")
    best = workdirs.folder_of(config.workdir) / members.FOLDER / "best.json"
    terminal.out.print(f"the teacher that pays: {best}")


def search_settings(request: Sweep, config: "Config") -> None:
    """``rexjax sweep`` of a model's settings."""
    from rexjax.artifacts import workdirs
    from rexjax.pipeline import sweep as sweeps
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    trials = sweeps.run(config, request.trials, terminal.say, request.of, update=request.update)
    table = Table(title=f"{request.of.capitalize()}s, by validation NDCG@10")
    for name in ("trial", "change", "NDCG@10", "seconds", "kept"):
        table.add_column(name, justify="left" if name == "change" else "right")
    for number, trial in enumerate(trials, 1):
        table.add_row(str(number), trial.change, f"{trial.ndcg:.4f}", f"{trial.seconds:.0f}", "*" if trial.kept else "")
    terminal.out.print(table)
    folder = workdirs.folder_of(config.workdir) / "sweep" / request.of
    terminal.out.print(f"best {request.of}: {folder}/best.json    picture: {folder}/sweep.png")


def search_budget(wanted: str, config: "Config") -> None:
    """``rexjax compress --budget``.

    Args:
        wanted: the budget as it was typed.
        config: what to start from.
    """
    from rexjax.pipeline import budget as budgets
    from rexjax.runtime.compile_cache import keep_compiled_programs

    budget = budgets.read(wanted)
    keep_compiled_programs()
    chosen, tried = budgets.run(config, budget, terminal.say)
    table = Table(title=f"Students for {wanted}, on validation")
    for name in ("variant", "NDCG@10", "of the teacher's", "bytes/item", "FLOPs", "p50 ms", "chosen"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for student in tried:
        cost = f"{student.bytes_per_item:g}", f"{student.flops:,.0f}", f"{student.p50_ms:.2f}"
        quality = f"{student.ndcg:.4f}", f"{student.quality:.1%}"
        table.add_row(student.name, *quality, *cost, "*" if student == chosen else "")
    terminal.out.print(table)
    kept = budgets.keep(config, chosen.name, terminal.say)
    names = " ".join(kept.compress.variants)
    terminal.out.print(f"the index holds it; to keep it so: --compress.variants {names} --compress.serve {chosen.name}")
