"""What every benchmark writes down, and how a case gets a process (and a peak memory) of its own."""

import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any


def in_a_process(module: str, *arguments: str) -> Any:
    """The JSON value on the last line that ``python -m MODULE --one ARGUMENTS`` prints."""
    command = [sys.executable, "-m", module, "--one", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def write(path: str, rows: list[dict[str, Any]], packages: tuple[str, ...], **more: Any) -> None:
    """Writes rows with machine and versions to ``path``; without a path it does nothing.

    Rows without a command and a commit get those of this process.
    """
    if path:
        versions = {name: metadata.version(name) for name in packages if has(name)}
        machine = {"machine": f"{platform.machine()}, 2 cores", "python": platform.python_version()}
        made = {"command": command(), "commit": commit()}
        found = machine | {"versions": versions} | more | {"rows": [made | row for row in rows]}
        Path(path).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def row(case: str, unit: str, ours: Any, **more: Any) -> dict[str, Any]:
    """One row, without a peer."""
    return {"case": case, "unit": unit, "ours": ours} | more


def rows(path: str) -> list[dict[str, Any]]:
    """The rows that ``write`` left in ``path``, each with its command and commit; none where there is no such file."""
    if not path or not Path(path).exists():
        return []
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    made = {key: found[key] for key in ("command", "commit") if key in found}
    return [made | row for row in found["rows"]]


def command() -> str:
    """What started this process; folders outside the project are spelt FOLDER."""
    arguments = ["FOLDER" if argument.startswith("/") else argument for argument in sys.argv[1:]]
    return " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *arguments])


def commit() -> str:
    """The commit that is checked out."""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def has(package: str) -> bool:
    """Whether ``package`` is installed."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
