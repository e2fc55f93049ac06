"""How a command ends: the exit code, and the one sentence that goes with it."""

import errno

from rexjax.errors import UserError
from rexjax.runtime.cluster.join import RESTART
from rexjax.runtime.preemption import Preempted

CLOSED = 128 + 13
"""Exit code where nobody reads the output any more: what a shell says of a program that SIGPIPE ends."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SIGNS = ("No space left", "Disk quota exceeded", "File too large", "ENOSPC")


def of(error: BaseException) -> tuple[int, str] | None:
    """Exit code and sentence for what ended a command; None for what nobody foresaw, which shows its traceback."""
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, Preempted):
        return RESTART, "stopped as asked, and all is saved; the same command goes on where it was"
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted; the same command goes on where it was"
    if full := disk_is_full(error):
        return 2, f"the disk is full ({full}): make room, and the same command goes on where it was"
    return None


def disk_is_full(error: BaseException | None) -> str:
    """What says so in ``error`` or in what caused it, in one line; else ''."""
    while error is not None:
        first = (str(error).splitlines() or [""])[0]
        if isinstance(error, OSError) and error.errno in _FULL or any(sign in str(error) for sign in _SIGNS):
            return first
        error = error.__cause__ or error.__context__
    return ""
