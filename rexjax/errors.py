"""The one exception that means: the user can mend this. And checks of settings that raise it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


class UserError(Exception):
    """A mistake of the user's; its message is one sentence that says what to do.

    The command line prints the message without a traceback and exits with code 2. Nothing already written is lost.
    """


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Within it stand imports of packages that are installed with ``rexjax[extra]``.

    Args:
        extra: of ``[project.optional-dependencies]`` in pyproject.toml.

    Raises:
        UserError: a package is not installed; the sentence names it and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"the package {error.name} is not installed: run pip install 'rexjax[{extra}]', which brings it"
        ) from error


def check_range(part: Any, what: str, needed: str, fits: Callable[[Any], bool], *names: str) -> None:
    """Raises UserError for those of these attributes of ``part`` that are numbers and do not fit."""
    check_ranges(part, what, dict.fromkeys(names, (needed, fits)))


def check_ranges(part: Any, what: str, ranges: dict[str, tuple[str, Callable[[Any], bool]]]) -> None:
    """Raises UserError for all attributes of ``part`` that are numbers out of their range.

    Args:
        part: a dataclass of settings.
        what: its name.
        ranges: by attribute, the range in words and whether a number is in it.
    """
    wrong = {name: value for name in ranges if _is_number(value := getattr(part, name)) and not ranges[name][1](value)}
    if wrong:
        said = ", ".join(f"{name}={value}" for name, value in wrong.items())
        raise UserError(f"{what} has {said}: " + ", ".join(f"set {name} to {ranges[name][0]}" for name in wrong))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def check_least(part: Any, what: str, least: int, *names: str) -> None:
    """Each is ``least`` or more."""
    check_range(part, what, f"{least} or more", lambda value: value >= least, *names)


def check_positive(part: Any, what: str, *names: str) -> None:
    """Each is above 0."""
    check_range(part, what, "a number above 0", lambda value: value > 0, *names)


def check_share(part: Any, what: str, *names: str) -> None:
    """Each is in [0, 1)."""
    check_range(part, what, "a share from 0 to below 1", lambda value: 0 <= value < 1, *names)
