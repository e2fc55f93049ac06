"""``rexjax export`` and ``rexjax serve``."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rexjax.cli import places, terminal
from rexjax.cli.places import File, Folder, Workdir
from rexjax.errors import UserError

_PACKAGES = ("flatbuffers", "msgspec", "prometheus_client", "starlette", "uvicorn")


@dataclass(frozen=True)
class Export:
    """Writes what a server needs into a folder that stands alone. It holds programs, weights, ids and hashes."""

    workdir: Workdir
    """Where `rexjax run` left its artifacts."""
    folder: Folder
    """The folder that is written. A server that reads it swaps the new export in."""
    compare: bool = False
    """Also exports the teacher and the float32 student, for the comparison on the server's page."""
    model: str = ""
    """A model of the run with item vectors, such as teacher or student. '': the model of the index."""


@dataclass(frozen=True)
class Serve:
    """Answers over HTTP. There is a page at /, POST /v1/recommend, POST /v1/events, /openapi.json and /metrics."""

    folder: Folder
    """The folder of `rexjax export`, or REGISTRY@champion. The server swaps in a new export while it runs."""
    host: str = "127.0.0.1"
    """Address to listen on. An address that others can reach needs --keys."""
    port: int = 8000
    """Port to listen on; 0: a free one."""
    keys: File = None
    """A file with one API key a line: NAME:SHA256 or NAME:SHA256:REQUESTS_A_SECOND. Default: $REXJAX_API_KEYS."""
    store: Path = Path("histories.db")
    """The SQLite file of users' histories. It is created if it does not exist."""
    waiting: int = 1024
    """Length of the queue. Further requests are answered 429 with Retry-After."""


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
    with places.exported(request.folder) as folder:
        run.serve(folder, *about, terminal.say)


def _need_packages() -> None:
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UserError(f"serving needs {', '.join(missing)}: pip install 'rexjax[serve]'")
