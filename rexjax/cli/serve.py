"""``rexjax export`` and ``rexjax serve``."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rexjax.artifacts.paths import local_path
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
    sign: File = None
    """A PEM file with the private Ed25519 key that signs the export. Make one with `openssl genpkey`."""


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
    store: str = "histories.db"
    """Users' histories: a SQLite file, created if it does not exist, or redis://HOST:PORT/DATABASE."""
    users_key: File = None
    """A file with the key of the users' ids in the store. Default: $REXJAX_USERS_KEY, else the file STORE.key."""
    waiting: int = 1024
    """Length of the queue. Further requests are answered 429 with Retry-After."""
    trust: File = None
    """A PEM file with the public Ed25519 key that must have signed the export. An export is code."""
    trust_unsigned: bool = False
    """Serve an export that nobody has signed at an address that others can reach."""


def export(request: Export) -> None:
    """``rexjax export``."""
    _need_packages()
    from rexjax.serving import export as exporting

    about = exporting.write(request.workdir, request.folder, request.compare, request.model, request.sign)
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
    from rexjax.serving.redis_store import is_url

    keep_compiled_programs(0.0)  # all of them, so that a restart is short
    store = request.store if is_url(request.store) else local_path(Path(request.store), "--store")
    about = request.host, request.port, request.keys, store, request.waiting
    more = {"trust": request.trust, "trust_unsigned": request.trust_unsigned, "users_key": request.users_key}
    with places.exported(request.folder) as folder:
        run.serve(folder, *about, terminal.say, **more)


def _need_packages() -> None:
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UserError(f"serving needs {', '.join(missing)}: pip install 'rexjax[serve]'")
