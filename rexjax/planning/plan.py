"""The plan of a config on a TPU topology: sizes, compilation in another process, and where it would fit."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rexjax.artifacts import store, versions, workdirs
from rexjax.artifacts.classes import keep_files
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.planning.compile_worker import Request, to_line
from rexjax.planning.topology import ENVIRONMENT, Topology, larger


class Compiler:
    """libtpu in a process of its own, for as long as the ``with`` block lasts."""

    def __enter__(self) -> "Compiler":
        """Starts the process.

        Raises:
            UserError: libtpu is not installed.
        """
        if importlib.util.find_spec("libtpu") is None:
            raise UserError(
                "a plan needs the TPU compiler (but no TPU), which is not installed: run `pip install 'rexjax[plan]'`"
            )
        self._log = tempfile.TemporaryFile()
        self._files = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rexjax.planning.compile_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | ENVIRONMENT,
        )
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._files.cleanup()

    def ask(self, request: Request) -> dict[str, Any]:
        """The figures of ``request``, see ``child.answer``."""
        files = Path(self._files.name)
        keep_files(request.config, files)
        request = request._replace(files=files)
        with contextlib.suppress(BrokenPipeError):  # it has ended: the empty answer below says so
            self._process.stdin.write(to_line(request))
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"error": self._last_words()}
        if "user_error" in reply:
            raise UserError(reply["user_error"])
        if "error" in reply:
            raise UserError(f"the TPU compiler failed on {request.topology.name}: {reply['error']}")
        return reply

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with code {self._process.wait()}"


def sizes(config: Config, items: int | None) -> dict[str, int]:
    """``items``, and ``users`` and ``interactions`` where they are known: from the flag, stage prepare, or the source.

    Raises:
        UserError: nothing says how many items there are.
    """
    known = dict(config.data.source.sizes())
    prepare = workdirs.folder_of(config.workdir) / "prepare"
    if any(finished for _, finished in versions.state(prepare)):
        metrics = store.find(prepare).metrics
        known = {name: metrics[name] for name in ("items", "users", "interactions")}
    if items is not None:
        known["items"] = items
    if "items" not in known:
        raise UserError(
            f"{config.workdir} has no prepared data that says how many items there are: pass --items N, or run "
            "`rexjax prepare CONFIG` first"
        )
    if known["items"] < 1:
        raise UserError(f"--items {known['items']}: a catalogue has at least one item")
    return known


def make(config: Config, topology: Topology, items: int | None = None) -> dict[str, Any]:
    """The whole plan as plain JSON values.

    Returns:
        topology, slices, devices, mesh, items, fits, programs (see ``program.measure``), and of a plan that does not
        fit ``fits_on``: the smallest topology on which it does, None if it is none of those known.
    """
    known = sizes(config, items)
    with Compiler() as compiler:
        reply = compiler.ask(Request(config, known["items"], topology))
        programs = reply["programs"]
        fits = all(program["fits"] for program in programs.values())
        plan = {
            "topology": topology.name,
            "slices": topology.slices,
            "devices": topology.devices,
            "mesh": reply["mesh"],
            "items": known["items"],
            "fits": fits,
            "programs": programs,
        }
        for name in (name for name in programs if name.startswith(("teacher", "distill"))):
            if programs[name]["fits"]:
                programs[name] |= _epoch(known, programs[name], config.data.length, topology.devices)
        if not fits:
            plan["fits_on"] = _smallest(compiler, config, known["items"], topology, programs)
    return plan


def _epoch(known: dict[str, int], program: dict[str, Any], length: int, devices: int) -> dict[str, Any]:
    """Steps, histories a second and device-hours of an epoch, where the numbers of users and interactions are known.

    A row packs several histories, each cut to L positions: there are at least so many rows as either bound says.
    """
    if "users" not in known:
        return {}
    rows = min(known["users"], -(-known["interactions"] // length))
    steps = -(-rows // program["batch"])
    seconds = steps * program["seconds"]
    return {
        "steps_per_epoch": steps,
        "histories_per_second": known["users"] / seconds,
        "device_hours_per_epoch": seconds * devices / 3600,
    }


def _smallest(
    compiler: Compiler, config: Config, items: int, topology: Topology, programs: dict[str, Any]
) -> str | None:
    """The first of ``larger(topology)`` on which all programs fit.

    One that could not hold what the last attempt needed, were that split perfectly, is not tried. What fits on fewer
    devices of the same generation fits on more of them.
    """

    def need(name):
        return programs[name]["hbm_needed"]

    failing = sorted((name for name in programs if not programs[name]["fits"]), key=need, reverse=True)
    total = need(failing[0]) * topology.devices
    for candidate in larger(topology):
        each = candidate.chip.hbm / candidate.chip.devices
        if candidate.devices * each < total or candidate.devices % config.mesh.model:
            continue
        same = candidate.generation == topology.generation
        names = tuple(failing) if same else (*failing, *(name for name in programs if name not in failing))
        found = compiler.ask(Request(config, items, candidate, names, stop=True))["programs"]
        if all(program["fits"] for program in found.values()):
            return candidate.name
        needed = max(program["hbm_needed"] for program in found.values() if not program["fits"])
        total = max(total, needed * candidate.devices)
    return None
