"""Starts the server: the socket, the log, and an end that lets accepted requests finish."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

from rexjax.errors import UserError
from rexjax.serving import keys as api_keys
from rexjax.serving import user_ids
from rexjax.serving.bundle import Verify, accept
from rexjax.serving.gate import Gate
from rexjax.serving.limits import limited, room
from rexjax.serving.server import Server
from rexjax.serving.signature import verifier
from rexjax.serving.tracing import ABOUT, Traced

_LOCAL = ("127.0.0.1", "::1", "localhost")
GRACE_SECONDS = 30
"""Seconds that accepted requests have when the server is told to stop."""
_IDLE = 75  # seconds after which an idle connection is closed: a proxy (nginx: 60) should be the first to do so


def serve(
    folder: Path,
    host: str,
    port: int,
    keys: Path | None,
    store: Path | str,
    waiting: int,
    say: Callable[[str], None],
    *,
    trust: Path | None = None,
    trust_unsigned: bool = False,
    users_key: Path | None = None,
) -> None:
    """Answers until it is interrupted or terminated; ``say`` is told the address once requests are taken.

    Raises:
        UserError: the address is taken, others could reach it without a key, or the folder cannot answer or is not
            trusted.
    """
    if waiting < 1:
        raise UserError(f"--waiting {waiting}: at least one request must be able to wait")
    known = api_keys.read(keys, os.environ)
    if host not in _LOCAL and not len(known):
        raise UserError(f"--host {host} can be reached by others: give API keys (--keys), or listen on 127.0.0.1")
    verify, ids = _verifier(host, trust, trust_unsigned), user_ids.read(users_key, os.environ)
    with _bound(host, port) as bound:
        files = _open_files()
        _log_lines()
        server = Server(folder, keys=known, store=store, waiting=waiting, verify=verify, ids=ids)
        about, address = server.engine.bundle, f"http://{host}:{bound.getsockname()[1]}"
        hosts = frozenset() if len(known) else frozenset(_LOCAL)
        settings = uvicorn.Config(
            Traced(Gate(server.app, hosts), lambda: server.engine.bundle.version),
            http=limited(room(files), server.measures),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        _Telling(
            settings, server.watch.refresh, lambda: say(f"{address}: {about.items:,} items, version {about.version}")
        ).run([bound])


def _verifier(host: str, trust: Path | None, trust_unsigned: bool) -> Verify:
    if trust and trust_unsigned:
        raise UserError("--trust and --trust-unsigned contradict each other: leave one out")
    if trust:
        return verifier(trust)
    if host not in _LOCAL and not trust_unsigned:
        raise UserError(
            f"--host {host} can be reached by others, and an export is code: name the public key of its signature with "
            "--trust, or say --trust-unsigned"
        )
    return accept


class _Telling(uvicorn.Server):
    """Listens when everything is ready, and not before, and then says so. Until then a proxy is refused at once and
    asks another replica, where an open socket would let it wait."""

    def __init__(self, settings: uvicorn.Config, refresh: Callable[[], None], told: Callable[[], None]) -> None:
        """``refresh`` is called on SIGHUP, ``told`` when requests are taken."""
        super().__init__(settings)
        self._refresh, self._told = refresh, told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        for bound in sockets or []:
            try:
                bound.listen(self.config.backlog)  # uvloop would not say that it has failed
            except OSError as error:  # another one, which began meanwhile, listens there
                raise _taken("{}:{}".format(*bound.getsockname()), error) from error
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it is
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._refresh)
        self._told()


def _bound(host: str, port: int) -> socket.socket:
    """So that an address which is taken is found out before anything is compiled."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        raise _taken(f"{host}:{port}", error) from error
    return found


def _taken(address: str, error: Exception) -> UserError:
    return UserError(f"cannot listen on {address} ({error}): choose another --port")


def _open_files() -> int:
    """How many files this process may open: as many as the system lets it, since each connection is one."""
    if not resource:
        return 512
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # "unlimited" is more than some systems mean
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(files, 1 << 20) if files > 0 else 1 << 20


class Line(logging.Formatter):
    """One JSON object; what is said is JSON already, or text of a library."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of ``record``."""
        said = record.getMessage()
        known = record.name.startswith("rexjax")
        about = {"time": self.formatTime(record), "level": record.levelname} | ABOUT.get()
        if record.exc_info:
            about["error"] = self.formatException(record.exc_info)
        text = json.dumps(about)[:-1]
        return f'{text}, "said": {said if known else json.dumps(said)}}}'


def _log_lines() -> None:
    """One JSON object a line, on standard error. Nothing is looked up for it that it does not say (what logging's own
    manual advises: it halves the time of a line, which each request writes)."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # type: ignore[attr-defined]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    for name, level in (("rexjax.serving", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
