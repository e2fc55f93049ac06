"""``rexjax items``."""

from dataclasses import dataclass

from rexjax.cli import terminal
from rexjax.cli.places import File, Workdir


@dataclass(frozen=True)
class Items:
    """Puts items into an index by their text, and takes items out, without training.

    `rexjax export` into the folder that a server reads swaps the new index in. The log stays as it is, so a run that
    makes the index again drops these changes.
    """

    workdir: Workdir
    """Where `rexjax run` left its artifacts."""
    put: File = None
    """CSV or Parquet with the columns of the items file. Known ids are replaced, others are added."""
    remove: File = None
    """A file of ids to take out, one a line; or CSV or Parquet with the item column."""


def items(request: Items) -> None:
    """``rexjax items``."""
    from rexjax.pipeline import items as changes
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    changes.run(changes.Change(request.workdir, request.put, request.remove), terminal.say)
