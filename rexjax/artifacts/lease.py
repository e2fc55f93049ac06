"""The lease of a workdir: one small file that names its owner, and a token that grows with every owner.

It is always replaced whole, and taken by making a file that nobody else has made: both hold on file systems without
locks. No clock is compared with another: a lease is dead when its file has not changed for a while.
"""

import datetime
import json
import os
import shlex
import socket
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

from rexjax.artifacts import owned
from rexjax.artifacts.owned import MARK
from rexjax.errors import UserError

NAME = "lock.json"


def read(path: Path) -> dict[str, Any]:
    """The lease in ``path``; {} where there is none.

    Raises:
        UserError: it is a link, a folder, a pipe, cannot be read, or was not made by this project.
    """
    try:
        kind = path.lstat().st_mode
        if not stat.S_ISREG(kind):
            raise UserError(_refuse_file(path, "is no plain file"))
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(file, encoding="utf-8") as opened:
            lease = json.load(opened)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(_refuse_file(path, f"cannot be read ({error.strerror})")) from error
    except ValueError:
        lease = None
    if not (isinstance(lease, dict) and owned.is_marked(lease) and isinstance(lease.get("token"), int)):
        raise UserError(_refuse_file(path, "was not made by rexjax"))
    return lease


def _refuse_file(path: Path, why: str) -> str:
    return f"{path} {why}, so that no run can be kept apart by it: move it away, or choose another folder"


def write(path: Path, lease: dict[str, Any]) -> None:
    """Replaces the lease whole, ``beat`` set to now."""
    temporary = path.with_name(f"{path.name}.{lease['token']}-{threading.get_ident()}.tmp")
    file = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o644)
    with open(file, "w", encoding="utf-8") as opened:
        json.dump(lease | {"beat": time.time()}, opened, indent=1)
    os.replace(temporary, path)


def new(token: int) -> dict[str, Any]:
    """A lease of this process."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    kernel, processes = _machine()
    return MARK | {
        "token": token,
        "host": socket.gethostname(),
        "kernel": kernel,
        "processes": processes,
        "pid": os.getpid(),
        "command": command,
        "since": time.time(),
    }


def _machine() -> tuple[str, str]:
    """Names of what runs this process, and of the space in which its number counts."""
    host = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{host} {boot}", os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        return host, host


def has_ended(lease: dict[str, Any], *, locked: bool) -> bool:
    """Whether the owner is known to live no more; of owners on other machines nothing is known.

    Args:
        lease: the owner's.
        locked: whether the kernel's lock on the folder could be taken, which any living owner on this machine holds.
    """
    if not lease or lease.get("released"):
        return True
    kernel, processes = _machine()
    if lease.get("kernel") != kernel:
        return False
    return locked or lease.get("processes") == processes and not is_running(lease["pid"])


def is_running(process: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def claim(path: Path, token: int) -> bool:
    """Tries to be the one who may write the lease with this token."""
    try:
        os.close(os.open(_claim(path, token), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    return True


def drop_claims(path: Path, token: int) -> None:
    """Removes the claims on ``token``, and what dead processes left of older ones."""
    for other in path.parent.glob(f"{path.name}.*.claim"):
        number = other.name.split(".")[-2]
        if number.isdecimal() and int(number) <= token:
            other.unlink(missing_ok=True)


def _claim(path: Path, token: int) -> Path:
    return path.with_name(f"{path.name}.{token}.claim")


def describe(lease: dict[str, Any]) -> str:
    """The owner, for a sentence."""
    if not lease or lease.get("released"):
        return "another run"
    age = datetime.timedelta(seconds=round(time.time() - lease["since"]))
    return f"{lease['command']!r} (process {lease['pid']} on {lease['host']}, for {age} now)"
