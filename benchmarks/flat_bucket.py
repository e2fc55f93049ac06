"""A bucket without folders, as a mounted one behaves, simulated in this process on a local disk.

No folder can be renamed, there are no hard links and no locks, and a file's rename is a copy, put in place as one
object, and a removal. Copies are made among the temporary files, which must lie on the same disk. Python's own calls
are replaced; what libraries do in C++ is not.
"""

import errno
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from typing import Any

_replace = os.replace


def _put(source: Any, target: Any, **_: Any) -> None:
    if os.path.isdir(source):
        raise OSError(errno.ENOSYS, "a bucket renames no folders", os.fspath(source))
    copied = os.path.join(tempfile.gettempdir(), f"{os.getpid()}-{threading.get_ident()}.object")
    shutil.copyfile(source, copied)
    _replace(copied, target)  # the one step that a reader sees
    os.unlink(source)


def _refuse(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOTSUP, "a bucket has none")


def install(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """From here on this process works on a bucket.

    Args:
        replace: ``setattr``, or a test's ``monkeypatch.setattr``, which undoes it.
    """
    for name in ("replace", "rename"):
        replace(os, name, _put)
    for name in ("link", "symlink"):
        replace(os, name, _refuse)
    for name in ("flock", "lockf"):
        replace(fcntl, name, _refuse)
