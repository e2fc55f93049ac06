"""Pages of keys, commands, names and HTTP, from the code."""

import importlib
import subprocess
import sys

from docs.generators.markdown import escape, table

PACKAGES = (
    "losses",
    "embedding",
    "retrieval",
    "rerank",
    "compression",
    "encoders",
    "families",
    "models",
    "training",
    "distillation",
    "evaluation",
    "data",
    "data.features",
    "config",
    "registry",
)
"""Public parts of ``rexjax``, a page each."""
COMMANDS = (
    "run",
    "recommend",
    "items",
    "export",
    "serve",
    "delta make",
    "delta apply",
    "delta rollback",
    "curves",
    "compare",
    "models",
    "models add",
    "models list",
    "models show",
    "models compare",
    "models promote",
    "models rollback",
    "models prune",
    "models mirror",
    "refresh",
    "sweep",
    "compress",
    "plan",
    "keys",
)
"""Commands whose help is printed; stages have the flags of ``run``."""


def pages() -> dict[str, str]:
    """Text of each page by its path below docs/."""
    api = {f"reference/api/{name}.md": _package(name) for name in PACKAGES}
    return api | {f"reference/{name}.md": make() for name, make in PAGES.items()}


def _package(name: str) -> str:
    module = importlib.import_module(f"rexjax.{name}")
    blocks = [f"# rexjax.{name}", _first(module.__name__)]
    blocks += [f"::: rexjax.{name}.{public}" for public in names(module.__name__)]
    return "\n\n".join(blocks) + "\n"


def names(package: str) -> list[str]:
    """Public names of a package."""
    module = importlib.import_module(package)
    return sorted(name for name in getattr(module, "__all__", ()) if not name.startswith("_"))


def _api() -> str:
    listed = table(("Package", "Content"), [(f"[rexjax.{n}](api/{n}.md)", _first(f"rexjax.{n}")) for n in PACKAGES])
    parts = {*PACKAGES, "metrics"}
    top = "\n\n".join(f"::: rexjax.{name}" for name in names("rexjax") if name not in parts)
    return f"# Python API\n\n{_API}\n\n{listed}\n\n{top}\n"


def _first(module: str) -> str:
    """The first line of a module's docstring."""
    return (importlib.import_module(module).__doc__ or "").strip().split("\n")[0]


def _config() -> str:
    from rexjax.cli.fields import keys_of, spell_type, spell_value
    from rexjax.config.schema import Config

    stages: dict[str, list[tuple[str, str, str, str]]] = {}
    for key in keys_of(Config(workdir="runs/NAME")):
        row = tuple(map(escape, (f"`--{key.name}`", spell_type(key.hint), spell_value(key.default), key.help)))
        stages.setdefault(key.name.split(".")[0] if "." in key.name else "whole run", []).append(row)
    heads = ("Key", "Type", "Default", "Meaning")
    said = "\n\n".join(f"## {stage}\n\n{table(heads, rows)}" for stage, rows in stages.items())
    return f"# Config keys\n\n{_CONFIG}\n\n{said}\n"


def _commands() -> str:
    said = "\n\n".join(f"## rexjax {name}\n\n```text\n{_help(name)}\n```" for name in COMMANDS)
    return f"# Commands\n\n{_COMMANDS}\n\n{said}\n"


def _help(command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rexjax.cli", *command.split(), "--help"],
        capture_output=True,
        text=True,
        env={"PATH": "", "COLUMNS": "100", "NO_COLOR": "1", "JAX_PLATFORMS": "cpu", "PYTHONIOENCODING": "utf-8"},
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def _http() -> str:
    from rexjax.serving import openapi

    found = openapi.describe(100, keys=True)
    rows = [
        (f"`{method.upper()} {path}`", escape(operation.get("summary") or operation.get("description", "")))
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict)
    ]
    return f"# HTTP\n\n{_HTTP}\n\n{table(('Request', 'Answer'), rows)}\n"


_API = "`import rexjax` gives the names below. Each package has a page with its public names."
_CONFIG = """A config file is a Python module with `get_config()`. Every key is a flag too. `rexjax keys PREFIX` prints
the same text; `rexjax keys --config FILE` lists the keys of the classes that a config names. The default of a nested
class appears as its own keys."""
_COMMANDS = (
    "Every command prints its own flags with `--help`. [Config keys](config.md) follow them on the command line."
)
_HTTP = """`rexjax serve` answers these requests. `GET /openapi.json` returns the full description with all schemas.
[Serve](../guides/serve.md) shows examples."""
PAGES = {"api": _api, "config": _config, "commands": _commands, "http": _http}
"""Pages beside those of the packages."""
