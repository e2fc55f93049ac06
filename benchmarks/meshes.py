"""Every mesh that a plan approves, made by the function that runs use: no TPU is needed, only libtpu.

    python -m benchmarks.meshes --json benchmarks/results/meshes.json

For each generation: each layout on offer, in one slice and in two, with each ``model`` that divides a slice. A mesh
counts where it holds what ``problems`` asks for. One that does not is named, and the exit code is 1.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import numpy as np

from benchmarks import record
from rexjax.planning.meshes import describe_devices
from rexjax.planning.topology import CHIPS, Topology
from rexjax.runtime.mesh import make_mesh

_QUICK = 64  # chips of a slice


def main() -> None:
    """Makes the meshes, writes a row for each generation and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"only slices of up to {_QUICK} chips")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    command = "python -m benchmarks.meshes" + " --quick" * flags.quick
    rows = []
    for generation in CHIPS:
        rows.append(row(generation, flags.quick) | {"command": command, "commit": record.commit(), "seeds": []})
        print(
            f"{generation}: {rows[-1]['ours']} of {rows[-1]['of']} meshes", *rows[-1]["failed"], sep="\n  ", flush=True
        )
        record.write(flags.json, rows, ("jax", "jaxlib", "libtpu"))
    sys.exit(any(row["failed"] for row in rows))


def row(generation: str, quick: bool) -> dict[str, Any]:
    """How many meshes of one generation are as they should be, and which are not."""
    layouts = [name for name in CHIPS[generation].layouts if not quick or _chips(name) <= _QUICK]
    tried, failed = 0, []
    for topology in (Topology(generation, layout, slices) for layout in layouts for slices in (1, 2)):
        for model, found in failures(topology):
            tried += 1
            if found:
                failed.append(f"{topology.name}, slices {topology.slices}, model {model}: {found}")
    return record.row(
        f"{generation}, {layouts[0]} to {layouts[-1]}, 1 and 2 slices, each model axis",
        "meshes",
        tried - len(failed),
        metric="meshes made",
        of=tried,
        failed=failed,
    )


def failures(topology: Topology) -> Iterator[tuple[int, str]]:
    """For each ``model`` that divides a slice, what is wrong with a run's mesh; "" where all is right."""
    devices = describe_devices(topology)
    hosts = len({device.process_index for device in devices})
    each = topology.devices // topology.slices
    with (
        mock.patch.object(jax, "devices", return_value=devices),
        mock.patch.multiple(
            jax, device_count=mock.Mock(return_value=len(devices)), process_count=mock.Mock(return_value=hosts)
        ),
    ):
        for model in (size for size in range(1, each + 1) if each % size == 0):
            try:
                mesh = make_mesh(model=model)
            except Exception as error:
                yield model, f"{type(error).__name__}: {str(error)[:200]}"
            else:
                yield model, ", ".join(problems(mesh, devices, topology.slices, model))


def problems(mesh: jax.sharding.Mesh, devices: list[Any], slices: int, model: int) -> list[str]:
    """What a run could not work with in a mesh of ``devices``."""
    laid = mesh.devices
    if mesh.axis_names != ("data", "model") or laid.shape != (len(devices) // model, model):
        return [f"shape {dict(mesh.shape)}"]
    slice_of = np.array([[getattr(device, "slice_index", 0) for device in row] for row in laid])
    place = np.array([[(*device.coords, device.core_on_chip) for device in row] for row in laid])
    checks = {
        "not each device once": sorted(d.id for d in laid.flat) == sorted(d.id for d in devices),
        '"model" leaves a slice': (slice_of == slice_of[:, :1]).all(),
        "slices are not the outer part of data": (
            slice_of[:, 0] == np.repeat(range(slices), len(laid) // slices)
        ).all(),
        "slices are laid out differently": (
            place.reshape(slices, -1, 4) == place[: len(laid) // slices].reshape(-1, 4)
        ).all(),
        "processes share some rows of a batch": _rows_are_shared_wholly(laid),
    }
    return [name for name, holds in checks.items() if not holds]


def _rows_are_shared_wholly(laid: np.ndarray) -> bool:
    """Whether all processes on a row of "data" hold the same rows, and all processes as many."""
    process = np.vectorize(lambda device: device.process_index)(laid)
    rows = {number: np.flatnonzero((process == number).any(1)).tolist() for number in np.unique(process)}
    return all(rows[number] == rows[row[0]] for row in process for number in row) and (
        len({len(held) for held in rows.values()}) == 1
    )


def _chips(layout: str) -> int:
    return math.prod(int(side) for side in layout.split("x"))


if __name__ == "__main__":
    main()
