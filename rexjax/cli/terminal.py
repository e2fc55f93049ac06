"""Where the command line prints."""

from rexjax.runtime.output import Console

out = Console()
err = Console(stderr=True)


def say(line: str) -> None:
    """Prints a line of progress as it is."""
    out.print(line, markup=False, highlight=False)


def say_whole(line: str) -> None:
    """Prints a line that is not to be wrapped."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def complain(sentence: str, style: str = "") -> None:
    """Prints one sentence on standard error."""
    err.print(f"rexjax: {sentence}", style=style, markup=False, highlight=False, soft_wrap=True)
