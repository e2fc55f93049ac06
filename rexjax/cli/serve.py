"""``rexjax export`` and ``rexjax serve``."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rexjax.cli import terminal
from rexjax.cli.places import File, Folder, Workdir
from rexjax.errors import UserError

_PACKAGES = ("flatbuffers", "msgspec", "prometheus_client", "starlette", "uvicorn")


@dataclass(frozen=True)
class Export:
    """Writes what a server needs into a folder that stands alone. It holds programs, weights, ids and hashes."""

    workdir: Workdir
    """Where `rexjax run` left its artifacts."""
    folder: Folder
    """Where to; a server that reads it swaps the new one in."""
    compare: bool = False
    """Also the teacher and the float32 student of the workdir, for the comparison on the server's page."""
    model: str = ""
    """A model of the workdir's tables that has item vectors, in place of the index's: teacher, student, a baseline."""


@dataclass(frozen=True)
class Serve:
    """Answers over HTTP. There is a page at /, POST /v1/recommend, POST /v1/events, /openapi.json and /metrics."""

    folder: Folder
    """What `rexjax export` wrote; a new export into it is swapped in while the server runs."""
    host: str = "127.0.0.1"
    """Where to listen; anything but this machine needs keys."""
    port: int = 8000
    """Likewise; 0 takes a free one."""
    keys: File = None
    """A file of API keys, a line NAME:SHA256 or NAME:SHA256:REQUESTS_A_SECOND each; else $REXJAX_API_KEYS."""
    store: Path = Path("histories.db")
    """The SQLite file of users' histories; made if it is not there."""
    waiting: int = 1024
    """At most so many requests wait; further ones are told to come again."""


def export(request: Export) -> None:
    """``rexjax export``."""
    _need_packages()
    from rexjax.serving import export as exporting

    about = exporting.write(request.workdir, request.folder, request.compare, request.model)
    size = sum(path.stat().st_size for path in request.folder.rglob("*") if path.is_file())
    terminal.say_whole(
        f"{request.folder}: {about['items']:,} items, {size:,} bytes, for {', '.join(about['platforms'])}; "
        f"serve it with `rexjax serve {request.folder}`"
    )


def serve(request: Serve) -> None:
    """``rexjax serve``."""
    _need_packages()
    from rexjax.runtime.compile_cache import keep_compiled_programs
    from rexjax.serving import run

    keep_compiled_programs(0.0)  # all of them, so that a restart is short
    about = request.host, request.port, request.keys, request.store, request.waiting
    run.serve(request.folder, *about, terminal.say)


def _need_packages() -> None:
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UserError(f"serving needs {', '.join(missing)}: pip install 'rexjax[serve]'")
