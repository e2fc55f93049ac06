"""Runs the notebooks from top to bottom, each in a folder of its own that is gone afterwards.

    python colab/run.py              # all of them, from their .py twins; what they print is looked at and dropped
    python colab/run.py 04 --keep    # and written into colab/04_*.ipynb

The kernel is this Python with this rexjax. An error ends the run with the cell that made it.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

HERE = Path(__file__).parent.resolve()
SECONDS = 1200
"""A notebook that takes longer has failed."""


class _ThisPython(KernelSpecManager):
    """One kernel, whatever is installed for the user or the machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """It, by any name."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def main() -> None:
    """Exits 1 at the first notebook that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 01; all without")
    parser.add_argument("--keep", action="store_true", help="write what was printed into the .ipynb")
    flags = parser.parse_args()
    twins = sorted(HERE.glob("0*.py"))
    if flags.names:
        twins = [twin for twin in twins if twin.name.startswith(tuple(flags.names))]
    if not twins:
        parser.error(f"no notebook in {HERE} begins with {' or '.join(flags.names)}")
    with tempfile.TemporaryDirectory() as spare:
        programs = os.environ.get("JAX_COMPILATION_CACHE_DIR", spare)  # compiled once for all notebooks
        for twin in twins:
            started, worked = time.monotonic(), _worked()
            notebook = run(twin, programs)
            spent = f"{time.monotonic() - started:.0f} s, {_worked() - worked:.0f} s of work"
            print(f"{twin.stem}: {spent}", flush=True)
            if flags.keep:
                nbformat.write(notebook, twin.with_suffix(".ipynb"))


def _worked() -> float:
    """Seconds of processors that the kernels so far, and what they started, have had."""
    spent = os.times()
    return spent.children_user + spent.children_system


def run(twin: Path, programs: str) -> Any:
    """The notebook of ``twin``, run; compiled programs are kept in ``programs``."""
    notebook, running = jupytext.read(twin), {"cell": "none yet"}
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place}"  # the same in every run
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    with tempfile.TemporaryDirectory() as work:
        manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=_ThisPython(),
            transport="ipc" if os.name == "posix" else "tcp",  # nobody else can speak to the kernel
            connection_file=str(Path(work) / "kernel.json"),
        )
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=SECONDS,
            resources={"metadata": {"path": work}},
            record_timing=False,
            coalesce_streams=True,
            on_cell_start=lambda cell, cell_index: running.update(cell=cell.source),
        )
        try:
            client.execute(env=_environment(Path(work), programs), cleanup_kc=True)
        except CellExecutionError as error:  # it says which
            sys.exit(f"{twin.name} fails: " + re.sub(r"\x1b\[[\d;]*m", "", str(error)))
        except (CellTimeoutError, DeadKernelError) as error:
            sys.exit(f"{twin.name} fails: {error}\n\nin the cell\n\n{running['cell']}")
        _scrub(notebook, (work, str(Path(work).resolve()), str(HERE.parent), str(Path.home())))
    return notebook


def _environment(work: Path, programs: str) -> dict[str, str]:
    """Whatever the kernel would write beside the notebook's own files goes away with them."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    own = {
        "PATH": os.pathsep.join(folders),  # `rexjax` is this Python's
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "IPYTHONDIR": str(work / ".ipython"),
        "JAX_COMPILATION_CACHE_DIR": programs,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "COLUMNS": "100",
    }
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | own


def _scrub(notebook: Any, folders: tuple[str, ...]) -> None:
    """Takes out where and how fast this ran."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "text" in output:
                output["text"] = _shortened(output["text"], folders)
            for kind, value in output.get("data", {}).items():
                if kind.startswith("text/") and isinstance(value, str):
                    output["data"][kind] = _shortened(value, folders)


def _shortened(text: str, folders: tuple[str, ...]) -> str:
    for folder in folders:
        text = text.replace(folder + os.sep, "").replace(folder, ".")
    text = re.sub(r"(: done) in [\d.]+ s\b", r"\1", text)
    text = re.sub(r" \([\d.]+ s when it ran\)", "", text)
    return re.sub(r"\r+\n", "\n", text)  # a terminal's line ends


if __name__ == "__main__":
    main()
