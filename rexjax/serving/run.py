"""Starts the server: the socket, the log, and an end that lets accepted requests finish."""

import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from rexjax.errors import UserError
from rexjax.serving import keys as api_keys
from rexjax.serving.server import Server

_LOCAL = ("127.0.0.1", "::1", "localhost")
_GRACE = 30  # seconds that accepted requests have when the server is told to stop


def serve(
    folder: Path,
    host: str,
    port: int,
    keys: Path | None,
    store: Path,
    waiting: int,
    say: Callable[[str], None],
) -> None:
    """Answers until it is interrupted or terminated; ``say`` is told the address once requests are taken.

    Raises:
        UserError: the address is taken, others could reach it without a key, or the folder cannot answer.
    """
    if waiting < 1:
        raise UserError(f"--waiting {waiting}: at least one request must be able to wait")
    known = api_keys.read(keys, os.environ)
    if host not in _LOCAL and not len(known):
        raise UserError(f"--host {host} can be reached by others: give API keys (--keys), or listen on 127.0.0.1")
    with _listen(host, port) as listening:
        _log_lines()
        server = Server(folder, keys=known, store=store, waiting=waiting)
        about, address = server.engine.bundle, f"http://{host}:{listening.getsockname()[1]}"
        say(f"{address}: {about.items:,} items, version {about.version}")
        settings = uvicorn.Config(
            server.app, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=_GRACE
        )
        uvicorn.Server(settings).run([listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        raise UserError(f"cannot listen on {host}:{port} ({error}): choose another --port") from error
    found.listen(2048)
    return found


def _log_lines() -> None:
    """One JSON object a line, on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter('{"time": "%(asctime)s", "level": "%(levelname)s", "said": %(message)s}'))
    logger = logging.getLogger("rexjax.serving")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
